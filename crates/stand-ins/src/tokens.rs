//! Tokens that the stand-ins give and check: of the shape of real ones, signed with a key that all stand-ins share.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use everstep_storage::account::sign;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Protects nothing: it only makes a token that comes from elsewhere not fit.
const KEY: &[u8] = b"everstep stand-ins";

/// A token for an audience that lasts so long from now.
pub fn mint(audience: &str, lifetime: Duration) -> String {
    let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX / 4);
    mint_until(audience, Timestamp::now().as_second().saturating_add(lifetime))
}

/// A token for an audience that ends at a second since 1970.
pub(crate) fn mint_until(audience: &str, expires: i64) -> String {
    let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let mut nonce = [0; 8];
    getrandom::fill(&mut nonce).expect("the system gives random bytes");
    let claims = json!({
        "aud": audience,
        "exp": expires,
        "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/",
        "oid": "11111111-1111-1111-1111-111111111111",
        "uti": u64::from_le_bytes(nonce).to_string(),
    });
    let signed = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
    format!("{signed}.{}", signature(&signed))
}

/// Why a token is not accepted for an audience; slashes at its end do not matter.
pub(crate) fn check(token: &str, audience: &str, now: i64) -> Result<(), &'static str> {
    let (signed, given) = token.rsplit_once('.').ok_or("the token is malformed")?;
    if signature(signed) != given {
        return Err("the signature of the token is not valid");
    }
    let claims = signed.rsplit_once('.').and_then(|(_, claims)| {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok()
    });
    let claims = claims.ok_or("the token is malformed")?;
    let wanted = audience.trim_end_matches('/');
    if claims["aud"].as_str().is_none_or(|given| given.trim_end_matches('/') != wanted) {
        return Err("the audience of the token is not valid");
    }
    if claims["exp"].as_i64().is_none_or(|end| end <= now) {
        return Err("the token has expired");
    }
    Ok(())
}

fn signature(text: &str) -> String {
    let signature = sign::signature(KEY, text);
    signature.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_for_one_audience_and_for_a_time() {
        let token = mint_until("https://a.example/", 100);
        assert_eq!(check(&token, "https://a.example", 99), Ok(()));
        assert_eq!(check(&token, "https://a.example", 100), Err("the token has expired"));
        assert_eq!(
            check(&token, "https://b.example", 99),
            Err("the audience of the token is not valid")
        );
        let (rest, _) = token.rsplit_once('.').unwrap();
        let forged = format!("{rest}.AAAA");
        assert_eq!(
            check(&forged, "https://a.example", 99),
            Err("the signature of the token is not valid")
        );
    }
}
