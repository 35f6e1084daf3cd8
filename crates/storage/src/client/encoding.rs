//! How the bytes of a message become its text.

use base64::{Engine as _, prelude::BASE64_STANDARD};

/// What stands in a message's text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Base64, as apps of Azure Functions expect unless their `host.json` says otherwise.
    #[default]
    Base64,
    /// The text itself.
    None,
}

/// The text of a message is not base64. The text itself may be what the sender meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the message is not base64; send it as base64, or set `extensions.queues.messageEncoding` in host.json to `none`"
)]
pub struct NotBase64;

/// Bytes that are no UTF-8 cannot stand in a message as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the content is not UTF-8 text; send it as base64")]
pub struct NotText;

impl Encoding {
    /// The text of a message with these bytes.
    pub fn encode_bytes(self, content: &[u8]) -> Result<String, NotText> {
        match self {
            Self::Base64 => Ok(BASE64_STANDARD.encode(content)),
            Self::None => std::str::from_utf8(content).map(str::to_owned).map_err(|_| NotText),
        }
    }

    /// The text of a message with this content.
    pub fn encode(self, content: &str) -> String {
        match self {
            Self::Base64 => BASE64_STANDARD.encode(content),
            Self::None => content.to_owned(),
        }
    }

    /// The content of a message with this text.
    pub fn decode(self, text: &str) -> Result<Vec<u8>, NotBase64> {
        match self {
            Self::Base64 => BASE64_STANDARD.decode(text.trim()).map_err(|_| NotBase64),
            Self::None => Ok(text.as_bytes().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_come_back_and_what_is_not_base64_is_told() {
        for encoding in [Encoding::Base64, Encoding::None] {
            assert_eq!(encoding.decode(&encoding.encode("ї <&>")), Ok("ї <&>".as_bytes().to_vec()));
        }
        assert_eq!(Encoding::Base64.encode("hello"), "aGVsbG8=");
        assert_eq!(Encoding::Base64.encode_bytes(&[255]).as_deref(), Ok("/w=="));
        assert_eq!(Encoding::None.encode_bytes(b"hello").as_deref(), Ok("hello"));
        assert_eq!(
            Encoding::None.encode_bytes(&[255]).unwrap_err().to_string(),
            "the content is not UTF-8 text; send it as base64"
        );
        assert_eq!(
            Encoding::Base64.decode("{}").unwrap_err().to_string(),
            "the message is not base64; send it as base64, or set `extensions.queues.messageEncoding` in host.json to `none`"
        );
    }
}
