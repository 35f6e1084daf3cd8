//! The XML of the protocol: small documents, read into a tree and written from text.
//!
//! X1  What is written reads back to the same text, line ends included: a carriage return travels as a reference.
//! X2  Reading is bounded in depth; a document type is refused, so no entity can grow.

use std::fmt::Write as _;

use quick_xml::{
    Reader,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
};

const DEPTH_MAX: usize = 16;

/// An element with all that is in it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    /// Attributes that are plain text.
    pub(crate) attributes: Vec<(String, String)>,
    /// The text directly in it, joined.
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

impl Element {
    /// The first child of that name.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of that name, or nothing.
    pub(crate) fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| &child.text)
    }

    /// The element as a document writes it, attributes left out.
    pub(crate) fn written(&self) -> String {
        let children: String = self.children.iter().map(Element::written).collect();
        let text = if children.is_empty() { escape(&self.text) } else { children };
        format!("<{name}>{text}</{name}>", name = self.name)
    }

    /// All children of that name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// The document's root; `None` for what is no well-formed document.
pub(crate) fn parse(document: &[u8]) -> Option<Element> {
    let text = std::str::from_utf8(document).ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) if open.len() < DEPTH_MAX && root.is_none() => {
                open.push(element(&tag)?);
            }
            Event::Empty(tag) if open.len() < DEPTH_MAX && root.is_none() => {
                close(element(&tag)?, &mut open, &mut root);
            }
            Event::Start(_) | Event::Empty(_) | Event::DocType(_) => return None,
            Event::End(_) => close(open.pop()?, &mut open, &mut root),
            Event::Text(text) => add(&text.into_inner(), &mut open)?,
            Event::CData(text) => add(&text.into_inner(), &mut open)?,
            Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                Some(letter) => add(letter.encode_utf8(&mut [0; 4]), &mut open)?,
                None => add(resolve_predefined_entity(&reference.into_inner())?, &mut open)?,
            },
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    root.filter(|_| open.is_empty())
}

fn element(tag: &BytesStart<'_>) -> Option<Element> {
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.ok()?;
        let value = quick_xml::escape::unescape(&attribute.value).ok()?.into_owned();
        attributes.push((attribute.key.as_ref().to_owned(), value));
    }
    Some(Element { name: tag.local_name().as_ref().to_owned(), attributes, ..Element::default() })
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

/// Text outside of the root may be white space only.
fn add(text: &str, open: &mut [Element]) -> Option<()> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return None,
    }
    Some(())
}

/// Whether XML can hold the text.
pub(crate) fn can_hold(text: &str) -> bool {
    let is_foreign = |letter: char| matches!(letter, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}');
    !text.contains(is_foreign)
}

/// A document that is being written.
#[derive(Debug)]
pub(crate) struct Writer(String);

impl Writer {
    pub(crate) fn new() -> Self {
        Self("<?xml version=\"1.0\" encoding=\"utf-8\"?>".to_owned())
    }

    /// An opening tag; the rest of it (attributes) is written as it is.
    pub(crate) fn open(&mut self, tag: &str) -> &mut Self {
        write!(self.0, "<{tag}>").expect("memory takes all");
        self
    }

    /// A closing tag.
    pub(crate) fn close(&mut self, name: &str) -> &mut Self {
        write!(self.0, "</{name}>").expect("memory takes all");
        self
    }

    /// An element with text.
    pub(crate) fn leaf(&mut self, name: &str, text: impl std::fmt::Display) -> &mut Self {
        let text = escape(&text.to_string());
        write!(self.0, "<{name}>{text}</{name}>").expect("memory takes all");
        self
    }

    /// Something that is XML already.
    pub(crate) fn raw(&mut self, xml: &str) -> &mut Self {
        self.0.push_str(xml);
        self
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// Text as element content or attribute value.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#13;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives_with_its_line_ends_spaces_and_signs() {
        let text = " a\r\nb\t<c> & \"d\" ї 🦀 ";
        let mut writer = Writer::new();
        writer.open("A").leaf("B", text).close("A");
        let document = parse(writer.finish().as_bytes()).unwrap();
        assert_eq!(document.text_of("B"), text);
        let marked =
            parse("\u{feff}<A><B>x<![CDATA[<&]]>&#x41;&amp;</B><C k='&lt;'/></A>".as_bytes());
        let marked = marked.unwrap();
        assert_eq!(marked.text_of("B"), "x<&A&");
        assert_eq!(marked.child("C").unwrap().attributes, [("k".to_owned(), "<".to_owned())]);
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let deep = format!("{}{}", "<a>".repeat(40), "</a>".repeat(40));
        for bad in
            ["", "x", "<a>", "<a></b>", "<a/><b/>", "<a>&unknown;</a>", "<!DOCTYPE a><a/>", &deep]
        {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
