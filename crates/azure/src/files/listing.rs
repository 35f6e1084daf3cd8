//! The documents of the service: shares, entries of a directory, errors. Read as they come, without a tree in between.
//!
//! N1  A name that XML cannot hold comes percent-encoded and marked; it is given decoded. Bytes that are no UTF-8 become the
//!     replacement character, so the entry is still counted.
//! N2  What is not known is stepped over.

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use quick_xml::{
    Reader,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
};

use super::{Entry, EntryKind, Page, Protocol, Share, SharesPage};
use crate::wire;

/// A page of a directory.
pub(super) fn entries(document: &[u8]) -> Option<Page> {
    let mut page = Page { entries: Vec::new(), next: None };
    read(document, |at, fields| {
        let kind = match at {
            "File" => EntryKind::File { size: fields.get("Content-Length").parse().ok()? },
            "Directory" => EntryKind::Directory,
            "NextMarker" => {
                page.next = non_empty(fields.own);
                return Some(());
            }
            _ => return Some(()),
        };
        page.entries.push(Entry {
            name: non_empty(fields.get("Name"))?,
            kind,
            created: time(fields.get("CreationTime")),
            last_modified: wire::parse_rfc1123(fields.get("Last-Modified")),
            last_write: time(fields.get("LastWriteTime")),
            etag: non_empty(fields.get("Etag")),
        });
        Some(())
    })?;
    Some(page)
}

/// A page of shares.
pub(super) fn shares(document: &[u8]) -> Option<SharesPage> {
    let mut page = SharesPage { shares: Vec::new(), next: None };
    read(document, |at, fields| {
        match at {
            "Share" => page.shares.push(Share {
                name: non_empty(fields.get("Name"))?,
                snapshot: non_empty(fields.get("Snapshot")),
                is_deleted: fields.get("Deleted") == "true",
                protocol: Protocol::of(fields.get("EnabledProtocols")),
            }),
            "NextMarker" => page.next = non_empty(fields.own),
            _ => {}
        }
        Some(())
    })?;
    Some(page)
}

/// Code and message of a refusal.
pub(super) fn refusal(document: &[u8]) -> (Option<String>, Option<String>) {
    let (mut code, mut message) = (None, None);
    // What was found before the document broke is better than nothing.
    let _ = read(document, |at, fields| {
        match at {
            "Code" => code = non_empty(fields.own),
            "Message" => message = non_empty(fields.own),
            _ => {}
        }
        Some(())
    });
    (code, message)
}

/// What stands in an element: its own text, and the texts of the leaves below it.
struct Found<'a> {
    own: &'a str,
    leaves: &'a [(String, String)],
}

impl Found<'_> {
    fn get(&self, name: &str) -> &str {
        let found = self.leaves.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Elements that are whole things; leaves are collected until one of them ends.
fn is_thing(name: &str) -> bool {
    matches!(name, "File" | "Directory" | "Share")
}

/// Calls for the end of each element. `None`: it is no such document, or an element lacks something.
fn read(document: &[u8], mut ended: impl FnMut(&str, &Found<'_>) -> Option<()>) -> Option<()> {
    let text = std::str::from_utf8(document).ok()?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let (mut own, mut leaves) = (String::new(), Vec::new());
    let (mut is_encoded, mut open, mut elements) = (false, 0_usize, 0_usize);
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) => {
                if is_thing(tag.local_name().as_ref()) {
                    leaves.clear();
                }
                is_encoded = is_marked(&tag);
                own.clear();
                open += 1;
                elements += 1;
            }
            Event::Empty(tag) => {
                elements += 1;
                ended(tag.local_name().as_ref(), &Found { own: "", leaves: &[] })?;
            }
            Event::End(tag) => {
                let name = tag.local_name();
                let name = name.as_ref();
                open = open.checked_sub(1)?;
                let text = if is_encoded { decoded(&own) } else { std::mem::take(&mut own) };
                ended(name, &Found { own: &text, leaves: &leaves })?;
                leaves.push((name.to_owned(), text));
                is_encoded = false;
                own.clear();
            }
            Event::Text(text) => own.push_str(&text.into_inner()),
            Event::CData(text) => own.push_str(&text.into_inner()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().ok()? {
                Some(letter) => own.push(letter),
                None => own.push_str(resolve_predefined_entity(&reference.into_inner())?),
            },
            Event::DocType(_) => return None,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    (open == 0 && elements > 0).then_some(())
}

fn is_marked(tag: &BytesStart<'_>) -> bool {
    let mut attributes = tag.attributes().filter_map(Result::ok);
    tag.local_name().as_ref() == "Name"
        && attributes
            .any(|attribute| attribute.key.as_ref() == "Encoded" && attribute.value == "true")
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// `2024-01-02T03:04:05.1234567Z`.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_with_what_the_service_says_of_them() {
        let page = entries(
            "\u{feff}<?xml version=\"1.0\"?><EnumerationResults ServiceEndpoint=\"h\" ShareName=\"s\" DirectoryPath=\"\"><DirectoryId>0</DirectoryId>\
            <Entries><File><FileId>1</FileId><Name> x &amp;&#x457;.pdf </Name><Properties><Content-Length>7</Content-Length>\
            <CreationTime>2024-01-02T03:04:05.1234567Z</CreationTime><LastAccessTime/><LastWriteTime>2024-01-03T00:00:00.0000000Z</LastWriteTime>\
            <Last-Modified>Tue, 02 Jan 2024 03:04:05 GMT</Last-Modified><Etag>\"0x1\"</Etag></Properties></File>\
            <Directory><Name Encoded=\"true\">z%EF%BF%BE%2541</Name><Properties/></Directory></Entries><NextMarker>m</NextMarker></EnumerationResults>"
                .as_bytes(),
        )
        .unwrap();
        let [file, directory] = &page.entries[..] else { panic!("{page:?}") };
        assert_eq!((file.name.as_str(), file.kind), (" x &ї.pdf ", EntryKind::File { size: 7 }));
        assert_eq!(file.created.unwrap().to_string(), "2024-01-02T03:04:05.1234567Z");
        assert_eq!(file.last_modified.unwrap().to_string(), "2024-01-02T03:04:05Z");
        assert_eq!(file.last_write.unwrap().to_string(), "2024-01-03T00:00:00Z");
        assert_eq!(file.etag.as_deref(), Some("\"0x1\""));
        assert_eq!(
            (directory.name.as_str(), directory.kind),
            ("z\u{fffe}%41", EntryKind::Directory)
        );
        assert_eq!((directory.created, directory.last_modified), (None, None));
        assert_eq!(page.next.as_deref(), Some("m"));
    }

    #[test]
    fn an_empty_page_may_have_more_behind_it() {
        let page = entries(
            b"<EnumerationResults><Entries/><NextMarker>m</NextMarker></EnumerationResults>",
        );
        assert_eq!(page, Some(Page { entries: Vec::new(), next: Some("m".to_owned()) }));
        let last = entries(b"<EnumerationResults><Entries /><NextMarker /></EnumerationResults>");
        assert_eq!(last, Some(Page { entries: Vec::new(), next: None }));
    }

    #[test]
    fn shares_say_what_they_are() {
        let page = shares(
            b"<EnumerationResults><Shares><Share><Name>a</Name><Properties><Quota>1</Quota></Properties></Share>\
            <Share><Name>b</Name><Snapshot>2024</Snapshot><Properties><EnabledProtocols>NFS</EnabledProtocols></Properties></Share>\
            <Share><Name>c</Name><Deleted>true</Deleted><Properties/></Share></Shares><NextMarker/></EnumerationResults>",
        );
        let share = |name: &str, snapshot: Option<&str>, is_deleted, protocol| Share {
            name: name.to_owned(),
            snapshot: snapshot.map(str::to_owned),
            is_deleted,
            protocol,
        };
        let shares = vec![
            share("a", None, false, Protocol::Smb),
            share("b", Some("2024"), false, Protocol::Nfs),
            share("c", None, true, Protocol::Smb),
        ];
        assert_eq!(page, Some(SharesPage { shares, next: None }));
    }

    #[test]
    fn what_is_no_such_document_is_refused() {
        for bad in [
            "",
            "x",
            "<a>",
            "<a></b>",
            "<!DOCTYPE a><a/>",
            "<a><File><Properties/></File></a>",
            "<a><File><Name>n</Name><Content-Length>many</Content-Length></File></a>",
            "<a><Directory><Name></Name></Directory></a>",
        ] {
            assert_eq!(entries(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_refusal_has_a_code_and_a_message() {
        let found =
            refusal(b"<Error><Code>ServerBusy</Code><Message>Busy.\nTime:1</Message></Error>");
        assert_eq!(found, (Some("ServerBusy".to_owned()), Some("Busy.\nTime:1".to_owned())));
        assert_eq!(refusal(b"nothing"), (None, None));
    }
}
