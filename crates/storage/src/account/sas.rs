//! Shared access signatures: the strings they stand for.
//!
//! The embedded service checks them; the client only carries them. Stored access policies and signatures of identities are
//! absent.

/// Parameters that a shared access signature consists of, by name; a missing one is empty.
pub(crate) struct Parameters<'a>(pub(crate) &'a [(String, String)]);

impl Parameters<'_> {
    pub(crate) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    fn join(&self, names: &[&str], end: &[&str]) -> String {
        let values = names.iter().map(|name| match name.strip_prefix('=') {
            Some(literal) => literal,
            None => self.get(name),
        });
        values.chain(end.iter().copied()).collect::<Vec<_>>().join("\n")
    }

    /// Of a signature for whole services: it ends with a line end.
    pub(crate) fn account_string(&self, account: &str) -> String {
        let account = format!("={account}");
        let mut names = vec![account.as_str(), "sp", "ss", "srt", "st", "se", "sip", "spr", "sv"];
        if self.get("sv") >= "2020-12-06" {
            names.push("ses");
        }
        self.join(&names, &[""])
    }

    /// Of a signature for one queue.
    pub(crate) fn queue_string(&self, resource: &str) -> String {
        let resource = format!("={resource}");
        self.join(&["sp", "st", "se", &resource, "si", "sip", "spr", "sv"], &[])
    }

    /// Of a signature for one container or blob.
    pub(crate) fn blob_string(&self, resource: &str) -> String {
        let resource = format!("={resource}");
        let mut names = vec!["sp", "st", "se", &resource, "si", "sip", "spr", "sv"];
        if self.get("sv") >= "2018-11-09" {
            // The second is the time of a snapshot, of which there are none.
            names.extend(["sr", "="]);
        }
        if self.get("sv") >= "2020-12-06" {
            names.push("ses");
        }
        names.extend(["rscc", "rscd", "rsce", "rscl", "rsct"]);
        self.join(&names, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strings_have_the_public_order_of_each_version() {
        let pairs = |version: &str| {
            let all = [
                ("sv", version),
                ("sp", "rw"),
                ("se", "E"),
                ("sr", "b"),
                ("ss", "q"),
                ("srt", "o"),
            ];
            all.map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        let (new, middle, old) = (pairs("2021-12-02"), pairs("2019-02-02"), pairs("2015-04-05"));
        let (new, middle, old) = (Parameters(&new), Parameters(&middle), Parameters(&old));
        assert_eq!(new.account_string("a"), "a\nrw\nq\no\n\nE\n\n\n2021-12-02\n\n");
        assert_eq!(middle.account_string("a"), "a\nrw\nq\no\n\nE\n\n\n2019-02-02\n");
        assert_eq!(new.queue_string("/queue/a/q"), "rw\n\nE\n/queue/a/q\n\n\n\n2021-12-02");
        let start = "rw\n\nE\n/blob/a/c/b\n\n\n\n";
        assert_eq!(new.blob_string("/blob/a/c/b"), format!("{start}2021-12-02\nb\n\n\n\n\n\n\n"));
        assert_eq!(middle.blob_string("/blob/a/c/b"), format!("{start}2019-02-02\nb\n\n\n\n\n\n"));
        assert_eq!(old.blob_string("/blob/a/c/b"), format!("{start}2015-04-05\n\n\n\n\n"));
    }
}
