//! What queues, containers and blobs may be called. Client and service refuse by the same rule.

/// The rule of queues and containers, as errors say it.
pub(crate) const RULE: &str = "a name has 3 to 63 lower-case letters, digits and single hyphens, and neither begins nor ends with a hyphen";

/// The rule of blobs, as errors say it.
pub(crate) const BLOB_RULE: &str =
    "a blob's name has 1 to 1024 characters, and `.` and `..` are no folders in it";

pub(crate) fn is_queue(name: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (3..=63).contains(&name.len())
        && name.bytes().all(is_plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

pub(crate) fn is_container(name: &str) -> bool {
    is_queue(name) || matches!(name, "$root" | "$web" | "$logs")
}

pub(crate) fn is_blob(name: &str) -> bool {
    (1..=1024).contains(&name.chars().count())
        && !name.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// A metadata name has to be usable as an identifier.
pub(crate) fn is_metadata(name: &str) -> bool {
    let mut letters = name.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_public_rules() {
        for good in ["abc", "a-b-c", "0day", &"x".repeat(63)] {
            assert!(is_queue(good), "{good}");
        }
        for bad in ["", "ab", "Abc", "a--b", "-ab", "ab-", "a_b", "a.b", &"x".repeat(64)] {
            assert!(!is_queue(bad), "{bad}");
        }
        assert!(is_container("$web") && !is_container("$other"));
        assert!(is_blob("a/b..c/...") && !is_blob("a/../b") && !is_blob("") && !is_blob("./a"));
        assert!(
            is_metadata("a1_B") && !is_metadata("1a") && !is_metadata("a-b") && !is_metadata("")
        );
    }
}
