// Microsoft's own parser judges queries. Standard input: {"schema": [["Table", "(A: long, ...)"]], "queries": [{"name", "text"}]}.
// Standard output: for each query its name, the errors, and the columns of its answer as "Name:type".
// The folder in the variable KQL_JUDGE holds node_modules/@kusto/language-service-next.
const path = require("node:path");
const folder = path.join(process.env.KQL_JUDGE, "node_modules", "@kusto", "language-service-next");
require(path.join(folder, "bridge.min.js"));
require(path.join(folder, "Kusto.Language.Bridge.min.js"));
const { Symbols, GlobalState, KustoCode } = globalThis.Kusto.Language;

const { schema, queries } = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const tables = schema.map(([name, columns]) => new Symbols.TableSymbol.$ctor7(name, columns, null));
const database = new Symbols.DatabaseSymbol.$ctor1("inventory", tables);
const globals = GlobalState.Default.WithDatabase(database);

function each(list, use) {
  for (let at = 0; at < list.Count; at += 1) use(list.getItem(at));
}

const verdicts = queries.map(({ name, text }) => {
  const code = KustoCode.ParseAndAnalyze(text, globals);
  const errors = [];
  each(code.GetDiagnostics(), (found) => {
    if (found.Severity === "Error") errors.push(`${found.Start}: ${found.Message}`);
  });
  const columns = [];
  if (code.ResultType && code.ResultType.Columns) {
    each(code.ResultType.Columns, (column) => columns.push(`${column.Name}:${column.Type.Name}`));
  }
  return { name, errors, columns };
});
process.stdout.write(JSON.stringify(verdicts));
