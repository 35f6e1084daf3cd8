"""Runs the functions of one app for the Everstep host.

The host starts this file with the app's own interpreter and talks to it over two pipes, one JSON object a line. Nothing
but the standard library is imported before the app is.

P1  Descriptor 1 belongs to the protocol: it is moved away before user code is imported, and what user code prints
    becomes log frames.
P2  Calls run at the same time and are answered in any order; turns of orchestrators run one after the other on a
    thread of their own.
P3  An orchestrator's generator is kept between turns where the SDK is a known one. Whatever is in doubt is dropped, and
    the host is asked for the history.
P4  Events from outside are given to an orchestrator only while it waits for their name; the others are kept in order.
P5  Where an app has the HTTP extension for streams, its functions get requests of that kind, and their responses travel
    over the pipe as they come. At most a few parts are ahead of what the host took.
"""

import asyncio
import base64
import collections
import concurrent.futures
import contextvars
import functools
import importlib
import importlib.util
import inspect
import io
import json
import linecache
import logging
import os
import queue
import re
import signal
import sys
import threading
import traceback
import types
import typing
import urllib.parse
import warnings

RUNS_MAX = 20000
PARTS_AHEAD = 32
IMPLICIT = {"orchestrationtrigger", "activitytrigger", "entitytrigger"}
RETRIED = (1, 3)
MARKER = "\n\n$OutOfProcData$:"

# What runs on this thread or in this task: function, invocation, instance.
current = contextvars.ContextVar("everstep_call", default=None)


class Link:
    """The pipe to the host."""

    def __init__(self):
        self.out = os.fdopen(os.dup(1), "wb", 0)
        self.input = os.fdopen(os.dup(0), "rb", 1 << 16)
        os.dup2(2, 1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        self.frames = queue.SimpleQueue()
        threading.Thread(target=self._write, name="everstep-out", daemon=True).start()

    def send(self, frame):
        self.frames.put(json.dumps(frame, separators=(",", ":")).encode() + b"\n")

    def finish(self):
        done = threading.Event()
        self.frames.put(done)
        done.wait(5)

    def _write(self):
        while True:
            waiting = [self.frames.get()]
            while not self.frames.empty() and len(waiting) < 512:
                waiting.append(self.frames.get())
            data = b"".join(frame for frame in waiting if isinstance(frame, bytes))
            try:
                view = memoryview(data)
                while view:
                    view = view[self.out.write(view):]
            except OSError:
                os._exit(0)  # the host is gone
            for frame in waiting:
                if isinstance(frame, threading.Event):
                    frame.set()


link = None


# Logs


class Call:
    """What is running, for logs."""

    __slots__ = ("function", "invocation", "instance", "context")

    def __init__(self, function, invocation, instance=None):
        self.function = function
        self.invocation = invocation
        self.instance = instance
        self.context = None

    @property
    def is_replaying(self):
        return self.context is not None and bool(getattr(self.context, "_is_replaying", False))


def log(level, category, text):
    call = current.get()
    frame = {"t": "log", "lvl": level, "cat": category, "msg": text}
    if call is not None:
        if call.is_replaying:
            return
        frame["fn"] = call.function
        frame["inv"] = call.invocation
        if call.instance is not None:
            frame["inst"] = call.instance
    link.send(frame)


class LogHandler(logging.Handler):
    """Hands records of the logging module to the host."""

    def emit(self, record):
        try:
            text = self.format(record)
        except Exception:  # a bad format string must not break the app
            text = str(record.msg)
        level = 5 if record.levelno >= 50 else 4 if record.levelno >= 40 else \
            3 if record.levelno >= 30 else 2 if record.levelno >= 20 else 1
        log(level, record.name, text)


class Printed(io.TextIOBase):
    """What user code prints, line by line."""

    def __init__(self):
        self.parts = {}
        self.lock = threading.Lock()

    encoding = "utf-8"
    errors = "replace"

    def writable(self):
        return True

    def fileno(self):
        return 1

    def isatty(self):
        return False

    def write(self, text):
        key = threading.get_ident()
        with self.lock:
            lines = (self.parts.pop(key, "") + text).split("\n")
            if lines[-1]:
                self.parts[key] = lines[-1]
        for line in lines[:-1]:
            log(2, "print", line)
        return len(text)

    def flush(self):
        with self.lock:
            rest = self.parts.pop(threading.get_ident(), "")
        if rest:
            log(2, "print", rest)


def shown(category, function=None):
    """Warnings as log lines."""
    def show(message, category, filename, lineno, file=None, line=None):
        log(3, "py.warnings", f"{filename}:{lineno}: {category.__name__}: {message}")
    return show


# Typed values


def datum_in(value):
    from azure.functions.meta import Datum
    if value is None:
        return Datum(None, None)
    kind, content = value["k"], value["v"]
    if kind == "bytes":
        return Datum(base64.b64decode(content), "bytes")
    if kind == "http":
        texts = {name: {key: Datum(text, "string") for key, text in content[name].items()}
                 for name in ("headers", "query", "params")}
        texts["method"] = Datum(content["method"], "string")
        texts["url"] = Datum(content["url"], "string")
        texts["body"] = Datum(base64.b64decode(content["body"]), "bytes")
        return Datum(texts, "http")
    return Datum(content, kind)


def plain(datum):
    return getattr(datum, "value", datum)


def datum_out(datum):
    if datum is None or datum.type is None:
        return None
    value, kind = datum.value, datum.type
    if kind == "bytes":
        return {"k": "bytes", "v": base64.b64encode(bytes(value)).decode()}
    if kind == "http":
        return {"k": "http", "v": http_out(value)}
    if kind in ("dict", "list"):
        return {"k": "json", "v": json.dumps(value)}
    if kind == "bool":
        return {"k": "int", "v": 1 if value else 0}
    if kind.startswith("collection"):
        return {"k": "json", "v": json.dumps(list(getattr(value, "string", value)))}
    return {"k": kind, "v": value}


def http_out(value):
    body = value.get("body")
    if body is None or body.value is None:
        content = b""
    elif isinstance(body.value, str):
        content = body.value.encode()
    else:
        content = bytes(body.value)
    headers = [[str(plain(name)), str(plain(text))] for name, text in value["headers"].items()]
    cookies = [morsel.OutputString()
               for cookie in value.get("cookies") or [] for morsel in cookie.values()]
    return {"status": str(plain(value["status_code"])), "headers": headers, "cookies": cookies,
            "body": base64.b64encode(content).decode()}


def generic_out(value):
    from azure.functions.meta import Datum
    if value is None:
        return Datum(None, None)
    for kind, name in ((str, "string"), (bytes, "bytes"), (bytearray, "bytes"), (dict, "dict"),
                       (list, "list"), (bool, "bool"), (int, "int"), (float, "double")):
        if isinstance(value, kind):
            return Datum(bytes(value) if kind is bytearray else value, name)
    raise TypeError(f"a value of type {type(value).__name__} cannot be given to this binding")


def converter(kind):
    """Looked up at each call: newer SDKs replace entries."""
    from azure.functions import get_binding_registry
    return get_binding_registry().get(kind)


# Functions


class Function:
    """A function of the app and its bindings."""

    def __init__(self, name, code, bindings, folder):
        self.name = name
        self.code = code
        self.folder = folder
        self.is_async = inspect.iscoroutinefunction(code)
        self.trigger = None
        self.inputs, self.outputs, self.returned = {}, {}, None
        implicit = None
        for binding in bindings:
            kind, parameter = binding["type"], binding["name"]
            direction = str(binding.get("direction", "in")).lower()
            if kind.lower().endswith("trigger"):
                self.trigger = binding
            if direction == "inout":
                raise ValueError(f"the binding `{parameter}` has the direction `inout`, which "
                                 f"Python functions cannot have")
            if parameter == "$return":
                self.returned = kind
            elif direction == "out":
                self.outputs[parameter] = kind
            else:
                self.inputs[parameter] = kind
            if implicit is None and self.has_implicit_output(kind):
                implicit = kind
        if self.returned is None:
            self.returned = implicit
        try:
            self.hints = typing.get_type_hints(code)
        except Exception:
            self.hints = dict(getattr(code, "__annotations__", {}) or {})
        try:
            self.parameters = list(inspect.signature(code).parameters)
        except (TypeError, ValueError):
            self.parameters = list(self.inputs)
        self.wants_context = "context" in self.parameters and \
            "context" not in self.inputs and "context" not in self.outputs
        self.streams = self.wants_streams()

    def wants_streams(self):
        """Whether it takes requests of the extension: its parameter says so, or says nothing in an app that has it."""
        extension = sys.modules.get("azurefunctions.extensions.base")
        if extension is None or self.trigger is None or \
                self.trigger["type"].lower() != "httptrigger" or \
                not extension.HttpV2FeatureChecker.http_v2_enabled():
            return False
        hint = self.hints.get(self.trigger["name"])
        return hint is None or extension.RequestTrackerMeta.check_type(hint)

    @staticmethod
    def has_implicit_output(kind):
        found = converter(kind)
        if found is None:
            return kind not in ("durableClient",) and not kind.lower().endswith("trigger") \
                and kind.lower() not in ("http", "queue", "blob", "orchestrationclient")
        try:
            return bool(found.has_implicit_output())
        except AttributeError:
            return False

    @property
    def is_durable(self):
        return self.trigger is not None and self.trigger["type"].lower() in IMPLICIT

    def parameter_of(self, parameter):
        """The SDK's wrappers of orchestrators and entities name their only parameter as they like."""
        if parameter in self.parameters or not self.is_durable:
            return parameter
        free = [name for name in self.parameters if name not in self.inputs]
        return free[0] if len(free) == 1 else parameter

    def decoded(self, parameter, value, metadata):
        kind = self.inputs[parameter]
        if self.streams and parameter == self.trigger["name"]:
            return request_of(value["v"])
        found = converter(kind)
        raw = self.hints.get(parameter) in (str, bytes) and not self.has_implicit_output(kind)
        if found is None or raw or not hasattr(found, "decode"):
            datum = datum_in(value)
            return datum.value if datum.type in ("string", "bytes", "json", None) \
                else datum.python_value
        return found.decode(datum_in(value), trigger_metadata=metadata)

    def encoded(self, kind, value, hint=None):
        found = converter(kind)
        if found is None or not hasattr(found, "encode"):
            return datum_out(generic_out(value))
        return datum_out(found.encode(value, expected_type=hint))

    def arguments(self, frame):
        metadata = {name: datum_in(value) for name, value in (frame.get("meta") or {}).items()}
        given = {}
        for parameter, value in frame["in"].items():
            if parameter in self.inputs:
                name = self.parameter_of(parameter)
                given[name] = self.decoded(parameter, value, metadata)
        outputs = {}
        for parameter in self.outputs:
            outputs[parameter] = given[parameter] = make_out()
        if self.wants_context:
            given["context"] = make_context(self, frame)
        return given, outputs

    def answer(self, frame, value, outputs):
        returned = None
        if self.returned is not None:
            if self.is_durable or value is not None or self.returned.lower() == "http":
                returned = self.encoded(self.returned, value, self.hints.get("return"))
        elif value is not None:
            raise RuntimeError(f"function {self.name!r} without a $return binding returned a "
                               f"non-None value")
        link.send({"t": "res", "id": frame["id"], "ok": True, "ret": returned,
                   "out": self.given_out(outputs)})

    def given_out(self, outputs):
        out = {}
        for parameter, slot in outputs.items():
            content = slot.get()
            if content is not None:
                out[parameter] = self.encoded(self.outputs[parameter], content)
        return out


def make_out():
    from azure.functions import Out

    class Slot(Out):
        """An output that the function sets."""

        def __init__(self):
            self.value = None

        def set(self, val):
            self.value = val

        def get(self):
            return self.value

    return Slot()


# Streams


def request_of(content):
    """A request of the extension's kind. Its body has arrived already."""
    from azurefunctions.extensions.base import RequestTrackerMeta
    url = urllib.parse.urlsplit(content["url"])
    headers = [(name.lower().encode("latin-1"), text.encode("latin-1", "replace"))
               for name, text in content["headers"].items()]
    scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"},
             "http_version": "1.1", "method": content["method"], "scheme": url.scheme,
             "path": urllib.parse.unquote(url.path), "raw_path": url.path.encode(),
             "query_string": url.query.encode(), "root_path": "", "headers": headers,
             "server": (url.hostname or "localhost", url.port), "client": None,
             "path_params": dict(content["params"])}
    body = [{"type": "http.request", "body": base64.b64decode(content["body"]),
             "more_body": False}]

    async def receive():
        if body:
            return body.pop()
        # Whoever asks once more waits for the end of the connection, which cancels the call.
        return await asyncio.Future()

    return RequestTrackerMeta.get_request_type()(scope, receive)


def response_of(value):
    """A value as a response: one of the extension's kinds as it is, everything else as JSON."""
    from azurefunctions.extensions.base import ResponseLabels, ResponseTrackerMeta
    if hasattr(value, "raw_headers") and callable(value):
        return value
    shown = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
    return ResponseTrackerMeta.get_response_type(ResponseLabels.JSON)(shown)


class Streamed:
    """A response on its way to the host."""

    def __init__(self, frame, out):
        self.number = frame["id"]
        self.out = out
        self.ahead = asyncio.Semaphore(PARTS_AHEAD)

    async def send(self, message):
        if message["type"] == "http.response.start":
            pairs = [[name.decode("latin-1"), text.decode("latin-1")]
                     for name, text in message.get("headers", [])]
            cookies = [text for name, text in pairs if name.lower() == "set-cookie"]
            value = {"status": str(message["status"]), "body": "", "cookies": cookies,
                     "headers": [pair for pair in pairs if pair[0].lower() != "set-cookie"]}
            link.send({"t": "head", "id": self.number, "ret": {"k": "http", "v": value},
                       "out": self.out})
        elif message.get("body"):
            await self.ahead.acquire()
            link.send({"t": "part", "id": self.number,
                       "body": base64.b64encode(message["body"]).decode()})

    async def receive(self):
        return await asyncio.Future()


thread_local = threading.local()


def make_context(function, frame):
    from azure.functions import Context

    trace = frame.get("trace") or {}
    retry = frame.get("retry") or {}
    traced = types.SimpleNamespace(
        trace_parent=trace.get("parent"), trace_state=trace.get("state"), attributes={},
        Traceparent=trace.get("parent"), Tracestate=trace.get("state"), Attributes={})
    retried = types.SimpleNamespace(
        retry_count=retry.get("count", 0), max_retry_count=retry.get("max", 0), exception=None)

    class InvocationContext(Context):
        """What a function is told of its run."""

        invocation_id = property(lambda _: frame["inv"])
        thread_local_storage = property(lambda _: thread_local)
        function_name = property(lambda _: function.name)
        function_directory = property(lambda _: function.folder)
        trace_context = property(lambda _: traced)
        retry_context = property(lambda _: retried)

    return InvocationContext()


# Loading


def load_app(root):
    script = os.environ.get("PYTHON_SCRIPT_FILE_NAME") or "function_app.py"
    if os.path.isfile(os.path.join(root, script)):
        if not re.match(r"^[a-zA-Z0-9_][a-zA-Z0-9_\-]*\.py$", script):
            raise ValueError(f"PYTHON_SCRIPT_FILE_NAME is {script!r}; name a file of the app's "
                             f"folder, such as function_app.py")
        return load_v2(root, script)
    return load_v1(root)


def load_v2(root, script):
    module = importlib.import_module(script[:-3])
    from azure.functions import FunctionRegister
    apps = []
    for value in vars(module).values():
        if isinstance(value, FunctionRegister) and not any(value is app for app in apps):
            apps.append(value)
    if not apps:
        raise ValueError(f"Could not find top level function app instances in {script}.")
    if len(apps) > 1:
        raise ValueError(f"More than one function app or blueprint app instance is defined at the "
                         f"top level of {script}; register blueprints with one app.")
    table, listed = {}, []
    # Only once: the app remembers the names that it gave out.
    for built in apps[0].get_functions():
        name = built.get_function_name()
        bindings = [json.loads(text) for text in built.get_raw_bindings()]
        try:
            retry = built.get_settings_dict("retry_policy") or None
        except Exception:
            retry = None
        entry = {"name": name, "model": "v2", "bindings": bindings, "retry": retry, "error": None,
                 "scriptFile": getattr(built, "function_script_file", None) or script}
        entry.update(declared(built.get_user_function(), root))
        try:
            table[name.lower()] = Function(name, built.get_user_function(), bindings, root)
        except Exception as error:
            entry["error"] = f"{type(error).__name__}: {error}"
        listed.append(entry)
    return table, listed


def declared(code, root):
    """The file and line of a function, where they can be told."""
    code = getattr(user_code(code) or inspect.unwrap(code), "__code__", None)
    if code is None or not is_of_app(code):
        return {}
    return {"scriptFile": os.path.relpath(code.co_filename, root), "line": code.co_firstlineno}


def load_v1(root):
    package = types.ModuleType("__app__")
    package.__path__ = [root]
    sys.modules["__app__"] = package
    table, listed = {}, []
    for name in sorted(os.listdir(root)):
        path = os.path.join(root, name, "function.json")
        if name.startswith(".") or not os.path.isfile(path):
            continue
        entry = {"name": name, "model": "v1", "bindings": [], "retry": None, "error": None,
                 "scriptFile": None}
        try:
            with open(path, encoding="utf-8-sig") as file:
                config = json.load(file)
            entry["bindings"] = config.get("bindings", [])
            table[name.lower()] = load_v1_one(root, name, config, entry)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            entry["error"] = told(error)
            entry["missing"] = missing_module(error)
        listed.append(entry)
    return table, listed


def load_v1_one(root, name, config, entry):
    folder = os.path.join(root, name)
    file = os.path.normpath(os.path.join(folder, config.get("scriptFile") or "__init__.py"))
    entry["scriptFile"] = os.path.relpath(file, root)
    module_name = os.path.relpath(file, root)[:-3].replace(os.sep, ".")
    if module_name.endswith(".__init__"):
        module_name = module_name[:-len(".__init__")]
    module = importlib.import_module("__app__." + module_name)
    entry_point = config.get("entryPoint") or "main"
    code = getattr(module, entry_point, None)
    if code is None:
        raise ValueError(f"{entry['scriptFile']} has no `{entry_point}`; define it, or name "
                         f"another function as entryPoint in {name}/function.json")
    return Function(name, code, config.get("bindings", []), folder)


def missing_module(error):
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            return error.name
        error = error.__cause__ or error.__context__
    return None


def told(error):
    """The whole traceback, without the frames of the worker and of the import before those of the app."""
    trace = error.__traceback__
    foreign = (told.__code__.co_filename, importlib.__file__)
    while trace is not None and (trace.tb_frame.f_code.co_filename in foreign or
                                 trace.tb_frame.f_code.co_filename.startswith("<frozen")):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


# Orchestrators


def quick_dates():
    """Timestamps of histories are in one form, which the standard library reads much faster."""
    try:
        module = importlib.import_module("azure.durable_functions.models.history.HistoryEvent")
    except ImportError:
        return
    if not hasattr(module, "dt_parse"):
        return
    if sys.version_info >= (3, 11):
        import datetime
        module.dt_parse = datetime.datetime.fromisoformat
    else:
        module.dt_parse = functools.lru_cache(maxsize=4096)(module.dt_parse)


def known_sdk():
    """Whether generators can be kept: the private names that it takes are all there."""
    if os.environ.get("EVERSTEP_PYTHON_RESIDENT", "").lower() in ("0", "false"):
        return False
    try:
        from azure.durable_functions.models.DurableOrchestrationContext import \
            DurableOrchestrationContext
        from azure.durable_functions.models.TaskOrchestrationExecutor import \
            TaskOrchestrationExecutor
        from azure.durable_functions.models import Task, history
        version = installed("azure-functions-durable") or ""
        return version.startswith("1.") and \
            hasattr(TaskOrchestrationExecutor, "process_event") and \
            hasattr(TaskOrchestrationExecutor, "has_execution_completed") and \
            hasattr(DurableOrchestrationContext, "from_json") and \
            all(hasattr(Task, name) for name in ("RetryAbleTask", "WhenAllTask", "WhenAnyTask")) \
            and history is not None
    except ImportError:
        return False


def user_code(handle):
    """The user's function in the wrapper of the SDK; older ones only close over it."""
    code = getattr(handle, "orchestrator_function", None)
    if code is None and getattr(handle, "__module__", "").startswith("azure.durable_functions"):
        try:
            code = inspect.getclosurevars(handle).nonlocals.get("fn")
        except TypeError:
            return None
    return code


class Run:
    """One execution of an orchestrator, given its events one by one."""

    def __init__(self, function, frame, call):
        self.function = function
        self.call = call
        self.head = frame["ctx"]
        self.seen = 0
        self.held = collections.deque()
        self.waits = {}
        self.leaves = []
        self.timers = {}
        self.over = False
        self.steps = {}
        self.played = 0

    def turn(self, items, played):
        self.steps, self.played = {}, played
        for item in items:
            index = self.seen
            self.seen += 1
            gated = item.pop("gate", False)
            item["IsPlayed"] = index < played
            if gated:
                self.held.append((index, item))
            elif not self.over:
                self.apply(index, item)
            self.deliver(index)
        self.settle()

    def deliver(self, index):
        """Gives events to the waits that are there, as long as one fits another."""
        fits = True
        while fits and self.held and not self.over:
            self.settle()
            fits = False
            for place, (_, event) in enumerate(self.held):
                spellings = self.waits.get(event["Name"].upper())
                if spellings:
                    event["Name"] = spellings.pop(0)
                    # When it is given counts, not when it came.
                    event["IsPlayed"] = index < self.played
                    del self.held[place]
                    self.apply(index, event)
                    fits = True
                    break

    def found(self, index, actions):
        """New actions, after the event of this index."""
        for action in actions:
            number = len(self.leaves)
            kind = action["actionType"]
            if kind == 6:
                name = action["externalEventName"]
                self.waits.setdefault(name.upper(), []).append(name)
            # What the host has recorded needs no input again, unless a retry makes the call once more.
            if index < self.played and kind not in RETRIED:
                action = {key: value for key, value in action.items() if key != "input"}
            self.leaves.append(kind)
            self.steps.setdefault(index, []).append(action)
            if kind == 5:
                self.note_timer(number, action)

    def note_timer(self, number, action):
        pass

    def traced(self):
        """Lines of code are known only where the generator is at hand."""
        return None

    def settle(self):
        pass

    def answer(self):
        steps = [[index, actions] for index, actions in sorted(self.steps.items())]
        answer = {"steps": steps, "held": [index for index, _ in self.held]}
        answer.update(self.state())
        return answer


class ResidentRun(Run):
    """Keeps the generator between turns."""

    def __init__(self, function, frame, call):
        super().__init__(function, frame, call)
        self.first = None
        self.executor = None
        self.trouble = None
        self.known = set()
        self.kept = []
        self.canceled = []
        self.traces = bool(frame.get("trace"))
        self.asked = {}
        self.stood = []

    def apply(self, index, event):
        from azure.durable_functions.models.history.HistoryEvent import HistoryEvent
        try:
            if self.executor is not None:
                if not hasattr(self.executor, "generator"):
                    return
                self.executor.process_event(HistoryEvent(**event))
            elif self.first is None:
                self.first = event
                return
            else:
                self.begin(event)
        except Exception as error:  # not the user's: a bad yield, a value that cannot be read
            self.trouble = error
        self.collect(index)
        self.over = self.trouble is not None or self.executor.has_execution_completed
        if self.traces:
            self.stood.append([index, self.standing()])

    def trace(self, context):
        """Remembers the line of the app that asks for each action."""
        def noting(make):
            def noted(action, *rest, **named):
                self.asked[id(action)] = (asking_place(), action)
                return make(action, *rest, **named)
            return noted
        for name in ("_generate_task", "_record_fire_and_forget_action"):
            if hasattr(context, name):
                setattr(context, name, noting(getattr(context, name)))

    def standing(self):
        """Where the code waits, or why it has ended."""
        executor = self.executor
        error = self.trouble or executor.exception
        if error is not None:
            return failing_place(error)
        code = getattr(executor, "generator", None)
        frame = None
        while code is not None:
            frame = getattr(code, "gi_frame", None) or frame
            code = getattr(code, "gi_yieldfrom", None)
        return frame and place_of(frame.f_code, frame.f_lineno)

    def traced(self):
        places = [self.asked.get(id(action), (None,))[0] for action in self.kept]
        return {"asked": places, "stood": self.stood}

    def begin(self, started):
        from azure.durable_functions.models.DurableOrchestrationContext import \
            DurableOrchestrationContext
        from azure.durable_functions.models.TaskOrchestrationExecutor import \
            TaskOrchestrationExecutor
        handle = self.function.code
        body = dict(self.head, history=[self.first, started], upperSchemaVersion=1,
                    isReplaying=started["IsPlayed"])
        context = DurableOrchestrationContext.from_json(json.dumps(body))
        context._input_expected_type = getattr(handle, "_df_input_type", None)
        if self.traces:
            self.trace(context)
        self.call.context = context
        self.executor = TaskOrchestrationExecutor()
        try:
            self.executor.execute(context, context.histories, user_code(handle))
        except Exception as error:
            if self.executor.exception is None:
                self.trouble = error

    def collect(self, index):
        context = self.call.context
        payload = context._action_payload_v2 if context is not None else None
        if payload:
            context._action_payload_v2 = []
            self.found(index, [self.shown(action) for action in self.flat(payload)])

    def flat(self, actions):
        for action in actions:
            children = getattr(action, "compound_tasks", None)
            if children is not None:
                yield from self.flat(children)
            elif id(action) not in self.known:
                # The SDK lists a task again that was yielded before inside of another.
                self.known.add(id(action))
                self.kept.append(action)
                yield action

    def shown(self, action):
        return action.to_json()

    def note_timer(self, number, action):
        task = self.kept[number]
        if not getattr(task, "is_cancelled", False):
            self.timers[number] = task

    def state(self):
        from azure.durable_functions.models import Task
        canceled = [number for number, task in self.timers.items() if task.is_cancelled]
        for number in canceled:
            del self.timers[number]
        executor, context = self.executor, self.call.context
        state = {"canceled": canceled, "over": self.over}
        if executor is None:
            return state
        if self.trouble is not None:
            state["error"] = trouble(self.trouble)
        if context is None:
            return state
        state["next"] = context._sequence_number
        context._action_payload_v2 = []
        text = None
        try:
            text = executor.get_orchestrator_state_str()
        except Exception as error:
            if self.trouble is None and executor.exception is None:
                state["over"], state["error"] = True, trouble(error)
            else:
                text = str(error).partition(MARKER)[2]
        if self.trouble is None and executor.exception is not None:
            state["error"] = user_error(executor.exception)
        read_state(state, text)
        if not self.over:
            state["wait"] = wait_of(executor.current_task, Task)
        return state


def place_of(code, line):
    text = linecache.getline(code.co_filename, line).strip()
    return {"file": code.co_filename, "line": line, "function": code.co_name, "text": text}


def is_of_app(code):
    """Neither this file nor a package beside the app."""
    file = code.co_filename
    return file != place_of.__code__.co_filename and "site-packages" not in file and \
        ".python_packages" not in file and not file.startswith("<frozen")


def asking_place():
    frame = sys._getframe(2)
    while frame is not None and not is_of_app(frame.f_code):
        frame = frame.f_back
    return frame and place_of(frame.f_code, frame.f_lineno)


def failing_place(error):
    """The last line of the app in a traceback."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        if is_of_app(trace.tb_frame.f_code):
            found = place_of(trace.tb_frame.f_code, trace.tb_lineno)
        trace = trace.tb_next
    return found


def wait_of(task, kinds):
    """What the code waits for, by the SDK's own numbers."""
    if isinstance(task, kinds.RetryAbleTask):
        pending = [child.id for child in task.pending_tasks if not child.is_completed]
        return {"t": pending[0]} if len(pending) == 1 and isinstance(pending[0], int) else None
    for kind, name in ((kinds.WhenAnyTask, "any"), (kinds.WhenAllTask, "all")):
        if isinstance(task, kind):
            children = [wait_of(child, kinds) for child in task.children if not child.is_completed]
            return {name: children} if children and None not in children else None
    number = getattr(task, "id", None)
    if isinstance(number, int):
        return {"t": number} if number >= 0 else None
    return {"e": number} if isinstance(number, str) else None


def user_error(error):
    text = str(error) or str(type(error))
    return {"text": text, "type": type(error).__name__, "stack": told(error)}


def trouble(error):
    return {"text": f"{type(error).__name__}: {error}", "type": type(error).__name__,
            "stack": told(error)}


def read_state(state, text):
    """Takes over what the SDK says beside the actions."""
    try:
        said = json.loads(text) if text else {}
    except ValueError:
        said = {}
    if said.get("customStatus") is not None:
        state["status"] = json.dumps(said["customStatus"])
    if "error" not in state and said.get("isDone"):
        state["over"] = True
        if "output" in said:
            state["output"] = json.dumps(said["output"])


class ReplayedRun(Run):
    """Runs the code from the beginning whenever its decisions are needed."""

    def __init__(self, function, frame, call):
        super().__init__(function, frame, call)
        self.history = []
        self.stale = False
        self.retried = False
        self.last = {}
        self.index = 0
        self.canceled = set()
        self.fresh_cancels = []

    def apply(self, index, event):
        if event["EventType"] == 12:
            for earlier in self.history:
                earlier["IsPlayed"] = True
        self.history.append(event)
        self.stale, self.index = True, index
        # With a retry under way its hidden numbers must not mix with those of other decisions.
        if self.retried:
            self.settle()

    def settle(self):
        if not self.stale or len(self.history) < 2:
            return
        self.stale = False
        # The wrapper reads this as the host's own trigger value.
        body = dict(self.head, history=self.history, upperSchemaVersion=1, isReplaying=False)
        try:
            self.last = {"text": self.function.code(json.dumps(body))}
        except Exception as error:
            text = str(error)
            said, found, rest = text.partition(MARKER)
            if found:
                cause = error.__cause__ or error
                failed = user_error(cause)
                failed["text"] = said or failed["text"]
                self.last = {"text": rest, "error": failed}
            else:
                self.last = {"text": None, "error": trouble(error)}
            self.over = True
        said = json.loads(self.last["text"]) if self.last["text"] else {}
        lists = said.get("actions") or [[]]
        leaves = list(leaves_of(lists[0] if lists else []))
        self.found(self.index, leaves[len(self.leaves):])
        self.retried = any(kind in RETRIED for kind in self.leaves)
        for number, leaf in enumerate(leaves):
            if leaf["actionType"] == 5 and leaf.get("isCanceled") and number not in self.canceled:
                self.canceled.add(number)
                self.fresh_cancels.append(number)
        self.over = self.over or bool(said.get("isDone"))

    def state(self):
        state = {"canceled": self.fresh_cancels, "over": self.over}
        self.fresh_cancels = []
        if self.last.get("error"):
            state["error"] = self.last["error"]
        read_state(state, self.last.get("text"))
        return state


def leaves_of(actions):
    for action in actions:
        if "compoundActions" in action:
            yield from leaves_of(action["compoundActions"])
        else:
            yield action


class Orchestrators:
    """The executions that are under way in this process."""

    def __init__(self, table):
        self.table = table
        self.runs = collections.OrderedDict()
        self.frames = queue.SimpleQueue()
        self.is_known = None
        threading.Thread(target=self.work, name="everstep-turns", daemon=True).start()

    def work(self):
        while True:
            frame = self.frames.get()
            if frame is None:
                return
            if frame["t"] == "drop":
                self.runs.pop(frame["run"], None)
                continue
            try:
                answer = self.turn(frame)
            except Exception as error:
                self.runs.pop(frame["run"], None)
                answer = {"steps": [], "held": [], "over": True, "canceled": [],
                          "error": trouble(error)}
            answer.update(t="turned", id=frame["id"])
            link.send(answer)

    def turn(self, frame):
        function = self.table.get(frame["fn"].lower())
        if function is None:
            raise LookupError(f"the function {frame['fn']!r} could not be loaded")
        key = frame["run"]
        run = self.runs.pop(key, None)
        if "ctx" in frame:
            run = self.begin(function, frame)
        elif run is None or run.seen != frame["from"]:
            return {"need": True}
        token = current.set(run.call)
        thread_local.invocation_id = run.call.invocation
        try:
            run.turn(frame["items"], frame["played"])
            answer = run.answer()
        finally:
            current.reset(token)
        if frame.get("trace"):
            answer["trace"] = run.traced()
        elif not answer.get("over"):
            self.runs[key] = run
            while len(self.runs) > RUNS_MAX:
                self.runs.popitem(last=False)
        return answer

    def begin(self, function, frame):
        if self.is_known is None:
            self.is_known = known_sdk()
        call = Call(function.name, frame["inv"], frame["ctx"]["instanceId"])
        if self.is_known and user_code(function.code) is not None:
            return ResidentRun(function, frame, call)
        return ReplayedRun(function, frame, call)


# Calls


class Worker:
    """Reads frames and runs what they ask for."""

    def __init__(self, table):
        self.table = table
        self.orchestrators = Orchestrators(table)
        self.loop = asyncio.new_event_loop()
        threads = int(os.environ.get("PYTHON_THREADPOOL_THREAD_COUNT") or 1000)
        self.pool = concurrent.futures.ThreadPoolExecutor(max_workers=max(threads, 1))
        self.tasks = {}
        self.streamed = {}

    def run(self):
        threading.Thread(target=self.read, name="everstep-in", daemon=True).start()
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        pending = [task for task in asyncio.all_tasks(self.loop) if not task.done()]
        if pending:
            self.loop.run_until_complete(asyncio.wait(pending, timeout=10))
        self.pool.shutdown(wait=True)
        sys.stdout.flush()
        link.finish()
        os._exit(0)

    def read(self):
        for line in link.input:
            frame = json.loads(line)
            kind = frame["t"]
            if kind in ("turn", "drop"):
                self.orchestrators.frames.put(frame)
            elif kind == "inv":
                self.take(frame)
            elif kind == "cancel":
                self.loop.call_soon_threadsafe(self.cancel, frame["id"])
            elif kind == "more":
                self.loop.call_soon_threadsafe(self.more, frame["id"])
            elif kind == "stop":
                self.loop.call_soon_threadsafe(self.loop.stop)
                return
        os._exit(0)  # the host is gone

    def take(self, frame):
        function = self.table.get(frame["fn"].lower())
        if function is None:
            link.send(failed(frame, LookupError(f"the function {frame['fn']!r} could not be loaded")))
        elif function.is_async or function.streams:
            self.loop.call_soon_threadsafe(self.begin, function, frame)
        else:
            self.pool.submit(self.call, function, frame)

    def begin(self, function, frame):
        call = self.call_streamed if function.streams else self.call_async
        task = self.loop.create_task(call(function, frame))
        self.tasks[frame["id"]] = task
        task.add_done_callback(lambda _: self.tasks.pop(frame["id"], None))

    def more(self, number):
        streamed = self.streamed.get(number)
        if streamed is not None:
            streamed.ahead.release()

    def cancel(self, number):
        task = self.tasks.get(number)
        if task is not None:
            task.cancel()

    def call(self, function, frame):
        token = current.set(Call(function.name, frame["inv"], frame.get("inst")))
        thread_local.invocation_id = frame["inv"]
        try:
            given, outputs = function.arguments(frame)
            value = function.code(**given)
            if inspect.isawaitable(value):
                value = asyncio.run_coroutine_threadsafe(awaited(value), self.loop).result()
            function.answer(frame, value, outputs)
        except BaseException as error:
            link.send(failed(frame, error))
        finally:
            sys.stdout.flush()
            current.reset(token)

    async def call_async(self, function, frame):
        current.set(Call(function.name, frame["inv"], frame.get("inst")))
        thread_local.invocation_id = frame["inv"]
        try:
            given, outputs = function.arguments(frame)
            value = await function.code(**given)
            function.answer(frame, value, outputs)
        except BaseException as error:
            link.send(failed(frame, error))


    async def call_streamed(self, function, frame):
        current.set(Call(function.name, frame["inv"], frame.get("inst")))
        try:
            given, outputs = function.arguments(frame)
            if function.is_async:
                value = await function.code(**given)
            else:
                run = functools.partial(contextvars.copy_context().run, function.code, **given)
                value = await self.loop.run_in_executor(self.pool, run)
            request = given[function.trigger["name"]]
            streamed = Streamed(frame, function.given_out(outputs))
            self.streamed[frame["id"]] = streamed
            await response_of(value)(request.scope, streamed.receive, streamed.send)
            link.send({"t": "res", "id": frame["id"], "ok": True, "ret": None, "out": {}})
        except BaseException as error:
            link.send(failed(frame, error))
        finally:
            self.streamed.pop(frame["id"], None)


async def awaited(value):
    return await value


def failed(frame, error):
    return {"t": "res", "id": frame["id"], "ok": False,
            "err": {"type": type(error).__name__, "message": f"{type(error).__name__}: {error}",
                    "stack": told(error)}}


# The process


def installed(package):
    from importlib import metadata
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def prepare(root):
    if sys.path:
        del sys.path[0]
    packages = os.path.join(root, ".python_packages", "lib", "site-packages")
    if os.path.isdir(packages):
        sys.path.append(packages)
    sys.path.append(root)
    importlib.invalidate_caches()
    sys.stdout = Printed()
    warnings.showwarning = shown(None)
    handler = LogHandler()
    logging.getLogger().addHandler(handler)
    debug = os.environ.get("PYTHON_ENABLE_DEBUG_LOGGING", "").lower() in ("1", "true")
    logging.getLogger().setLevel(logging.DEBUG if debug else logging.INFO)


def listen_for_debugger():
    port = os.environ.get("EVERSTEP_PYTHON_DEBUG")
    if not port:
        return
    import debugpy
    debugpy.listen(("127.0.0.1", int(port)))


def main():
    global link
    # The host decides when this process ends, also when both hear of Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    root = os.path.abspath(sys.argv[-1])
    link = Link()
    prepare(root)
    ready = {"t": "ready", "functions": [], "py": ".".join(map(str, sys.version_info[:3])),
             "executable": sys.executable}
    try:
        listen_for_debugger()
        table, ready["functions"] = load_app(root)
        quick_dates()
    except BaseException as error:
        ready["error"] = told(error)
        ready["missing"] = missing_module(error)
        table = {}
    ready["sdk"] = installed("azure-functions")
    ready["durable"] = installed("azure-functions-durable")
    link.send(ready)
    if "error" in ready:
        link.finish()
        os._exit(1)
    Worker(table).run()


if __name__ == "__main__":
    main()
