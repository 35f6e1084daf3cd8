//! `#[activity]` and `#[orchestrator]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Error, FnArg, Ident, ItemFn, LitStr, ReturnType, Type, spanned::Spanned};

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Activity,
    Orchestrator,
}

impl Kind {
    fn attribute(self) -> &'static str {
        match self {
            Self::Activity => "activity",
            Self::Orchestrator => "orchestrator",
        }
    }

    fn context(self) -> &'static str {
        match self {
            Self::Activity => "ActivityContext",
            Self::Orchestrator => "Context",
        }
    }

    fn form(self) -> String {
        format!("`async fn name(ctx: {}, input: Input) -> Result<Output, Error>`", self.context())
    }
}

pub(crate) fn expand(
    kind: Kind,
    arguments: TokenStream,
    item: TokenStream,
) -> syn::Result<TokenStream> {
    let chosen = chosen_name(kind.attribute(), arguments)?;
    let mut function: ItemFn = syn::parse2(item)?;
    let (takes, input) = check(kind, &function)?;
    let output = output(kind, &function)?.clone();

    let ident = function.sig.ident.clone();
    let visibility = function.vis.clone();
    let name = chosen.unwrap_or_else(|| ident.to_string());
    let attributes = std::mem::take(&mut function.attrs);
    let docs = attributes.iter().filter(|attribute| attribute.path().is_ident("doc"));
    let others = attributes.iter().filter(|attribute| !attribute.path().is_ident("doc"));
    function.sig.ident = format_ident!("run");

    let (context, handle, of, method) = match kind {
        Kind::Activity => {
            (quote!(ActivityContext), quote!(Activity), quote!(ActivityHandle), quote!(activity))
        }
        Kind::Orchestrator => (
            quote!(Context),
            quote!(Orchestrator),
            quote!(OrchestratorHandle),
            quote!(orchestrator),
        ),
    };
    let call = match takes {
        Takes::Both => quote!(#ident::run(context, input)),
        Takes::Context => quote!({ let () = input; #ident::run(context) }),
        Takes::Input => quote!({ let _ = context; #ident::run(input) }),
        Takes::Nothing => quote!({ let ((), _) = (input, context); #ident::run() }),
    };
    let summary = format!("The code of `{ident}`.");
    Ok(quote! {
        #(#docs)*
        #[allow(non_camel_case_types, reason = "it stands for a function")]
        #[derive(Debug, Clone, Copy)]
        #visibility struct #ident;

        impl #ident {
            #[doc = #summary]
            #[allow(clippy::unused_async, reason = "every function of this kind is async")]
            #(#others)*
            #function
        }

        impl ::everstep::#of for #ident {
            type Input = #input;
            type Output = <#output as ::everstep::macros::Returns>::Output;

            fn name(&self) -> &'static str {
                #name
            }
        }

        impl ::everstep::Register for #ident {
            fn register(self, app: ::everstep::App) -> ::everstep::App {
                let handle = ::everstep::#handle::new(#name);
                app.#method(handle, |context: ::everstep::#context, input: #input| #call)
            }
        }
    })
}

/// `name = "..."`, or nothing.
fn chosen_name(attribute: &str, arguments: TokenStream) -> syn::Result<Option<String>> {
    let mut name = None;
    let parser = syn::meta::parser(|meta| {
        if !meta.path.is_ident("name") {
            let text =
                format!("`{attribute}` takes nothing but a name: #[{attribute}(name = \"Name\")]");
            return Err(meta.error(text));
        }
        name = Some(meta.value()?.parse::<LitStr>()?.value());
        Ok(())
    });
    syn::parse::Parser::parse2(parser, arguments)?;
    Ok(name)
}

/// Which arguments the code takes.
enum Takes {
    Both,
    Context,
    Input,
    Nothing,
}

fn check(kind: Kind, function: &ItemFn) -> syn::Result<(Takes, TokenStream)> {
    let signature = &function.sig;
    let wrong = |span, what: &str| {
        let form = kind.form();
        Err(Error::new(span, format!("an {} {what}; write {form}", kind.attribute())))
    };
    if signature.asyncness.is_none() {
        return wrong(signature.fn_token.span(), "is an async function");
    }
    if !signature.generics.params.is_empty() {
        return wrong(signature.generics.span(), "has no parameters of type or lifetime");
    }
    let mut types = Vec::new();
    for argument in &signature.inputs {
        match argument {
            FnArg::Typed(argument) => types.push(&*argument.ty),
            FnArg::Receiver(receiver) => {
                return wrong(receiver.span(), "is a function, not a method");
            }
        }
    }
    match types[..] {
        [_, input] => Ok((Takes::Both, quote!(#input))),
        [single] if ends_with(single, kind.context()) => Ok((Takes::Context, quote!(()))),
        [input] if kind == Kind::Activity => Ok((Takes::Input, quote!(#input))),
        [] if kind == Kind::Activity => Ok((Takes::Nothing, quote!(()))),
        [single] => wrong(single.span(), "takes the context first"),
        _ => wrong(signature.inputs.span(), "takes a context and at most one input"),
    }
}

fn output(kind: Kind, function: &ItemFn) -> syn::Result<&Type> {
    match &function.sig.output {
        ReturnType::Type(_, output) => Ok(output),
        ReturnType::Default => {
            let text = format!("an {} returns a `Result`; write {}", kind.attribute(), kind.form());
            Err(Error::new(function.sig.span(), text))
        }
    }
}

/// Whether the last part of a type's path is this word.
pub(crate) fn ends_with(of: &Type, word: &str) -> bool {
    match of {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == word),
        Type::Reference(reference) => ends_with(&reference.elem, word),
        _ => false,
    }
}

/// `name` in capitals.
pub(crate) fn in_capitals(name: &Ident) -> Ident {
    format_ident!("{}", name.to_string().to_uppercase(), span = name.span())
}
