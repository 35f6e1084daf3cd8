//! `#[entity]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Error, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, LitStr, ReceiverKind, ReturnType, Type,
    Visibility, spanned::Spanned,
};

use crate::function::{ends_with, in_capitals};

const FORM: &str = "`fn name(&mut self, input: Input) -> Output`";

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let options = Options::parse(arguments)?;
    let block: ItemImpl = syn::parse2(item)?;
    if let Some((path, _)) = &block.trait_ {
        return Err(Error::new(path.span(), "`#[entity]` stands on the type's own `impl` block"));
    }
    let entity = &block.self_ty;
    let name = match options.name {
        Some(name) => name,
        None => type_name(entity)?,
    };
    let operations: Vec<_> =
        block.items.iter().filter_map(as_operation).collect::<Result<_, _>>()?;
    let names: Vec<_> = operations.iter().map(|operation| operation.name.to_string()).collect();
    let handles = operations.iter().map(|operation| operation.handle(entity));
    let arms = operations.iter().map(Operation::arm);
    let purity = if options.pure { quote!(Pure) } else { quote!(Effects) };
    Ok(quote! {
        #block

        impl #entity {
            #(#handles)*
        }

        impl ::everstep::Entity for #entity {
            const NAME: &'static str = #name;
            const PURITY: ::everstep::Purity = ::everstep::Purity::#purity;
            const OPERATIONS: &'static [&'static str] = &[#(#names),*];

            async fn dispatch(
                &mut self,
                operation: &str,
                input: ::everstep::Input<'_>,
                context: &mut ::everstep::EntityContext,
            ) -> ::core::result::Result<::everstep::Value, ::everstep::Failure> {
                let _ = &context;
                match operation {
                    #(#arms)*
                    other => ::everstep::unknown_operation::<Self>(other),
                }
            }
        }
    })
}

/// What stands in the attribute.
#[derive(Default)]
struct Options {
    name: Option<String>,
    pure: bool,
}

impl Options {
    fn parse(arguments: TokenStream) -> syn::Result<Self> {
        let mut options = Self::default();
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("name") {
                options.name = Some(meta.value()?.parse::<LitStr>()?.value());
                Ok(())
            } else if meta.path.is_ident("pure") {
                options.pure = true;
                Ok(())
            } else {
                Err(meta
                    .error("`entity` takes `pure` and a name: #[entity(pure, name = \"Name\")]"))
            }
        });
        syn::parse::Parser::parse2(parser, arguments)?;
        Ok(options)
    }
}

fn type_name(entity: &Type) -> syn::Result<String> {
    match entity {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        _ => None,
    }
    .ok_or_else(|| Error::new(entity.span(), "give the entity a name: #[entity(name = \"Name\")]"))
}

/// A method that is an operation.
struct Operation<'a> {
    name: &'a Ident,
    visibility: &'a Visibility,
    input: Option<&'a Type>,
    /// In the order of the method's arguments.
    arguments: Vec<TokenStream>,
    output: TokenStream,
    fails: bool,
    is_async: bool,
}

/// The operation that an item is; functions without `self` are left alone.
fn as_operation(item: &ImplItem) -> Option<syn::Result<Operation<'_>>> {
    let ImplItem::Fn(method) = item else { return None };
    let FnArg::Receiver(receiver) = method.sig.inputs.first()? else { return None };
    if !matches!(receiver.kind, ReceiverKind::Reference(..)) {
        let text = format!("an operation borrows the state; write {FORM}");
        return Some(Err(Error::new(receiver.span(), text)));
    }
    Some(Operation::parse(method))
}

impl<'a> Operation<'a> {
    fn parse(method: &'a ImplItemFn) -> syn::Result<Self> {
        let signature = &method.sig;
        if !signature.generics.params.is_empty() {
            let text = format!("an operation has no parameters of type or lifetime; write {FORM}");
            return Err(Error::new(signature.generics.span(), text));
        }
        let (mut input, mut arguments) = (None, Vec::new());
        for argument in signature.inputs.iter().skip(1) {
            let FnArg::Typed(argument) = argument else { continue };
            if ends_with(&argument.ty, "EntityContext") {
                arguments.push(quote!(context));
            } else if input.is_none() {
                input = Some(&*argument.ty);
                arguments.push(quote!(input.read()?));
            } else {
                let text =
                    "an operation takes at most one input; put several into a tuple or a struct";
                return Err(Error::new(argument.span(), text));
            }
        }
        let (output, fails) = match &signature.output {
            ReturnType::Default => (quote!(()), false),
            ReturnType::Type(_, output) if ends_with(output, "Result") => {
                (quote!(<#output as ::everstep::macros::Returns>::Output), true)
            }
            ReturnType::Type(_, output) => (quote!(#output), false),
        };
        Ok(Self {
            name: &signature.ident,
            visibility: &method.vis,
            input,
            arguments,
            output,
            fails,
            is_async: signature.asyncness.is_some(),
        })
    }

    /// The constant that names it.
    fn handle(&self, entity: &Type) -> TokenStream {
        let Self { name, visibility, output, .. } = self;
        let constant = in_capitals(name);
        let input = self.input.map_or_else(|| quote!(()), |input| quote!(#input));
        let text = name.to_string();
        let doc = format!("The operation `{text}`.");
        quote! {
            #[doc = #doc]
            #[allow(dead_code, reason = "not every operation is called from code")]
            #visibility const #constant: ::everstep::Operation<#entity, #input, #output> =
                ::everstep::Operation::new(#text);
        }
    }

    /// How it is dispatched.
    fn arm(&self) -> TokenStream {
        let Self { name, arguments, .. } = self;
        let text = name.to_string();
        let wait = self.is_async.then(|| quote!(.await));
        let call = quote!(self.#name(#(#arguments),*) #wait);
        if self.fails {
            quote!(#text => ::everstep::output(&#call.map_err(::everstep::failure)?),)
        } else {
            quote!(#text => ::everstep::output(&#call),)
        }
    }
}
