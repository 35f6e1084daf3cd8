//! Shell patterns for file names: `*`, `?`, `[seq]`, `[!seq]`, with case.
//!
//! A `[` that nothing closes is a plain character. No pattern is an error, and none takes more than time proportional
//! to its length times that of the name.

/// Patterns of which one suffices.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patterns {
    all: Vec<Pattern>,
}

impl Patterns {
    pub(crate) fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self { all: texts.into_iter().map(Pattern::new).collect() }
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        self.all.iter().any(|pattern| pattern.matches(name))
    }
}

#[derive(Debug, Clone)]
enum Pattern {
    /// No wildcards.
    Exact(String),
    /// `*` and then no wildcards.
    Suffix(String),
    /// No wildcards and then `*`.
    Prefix(String),
    Tokens(Vec<Token>),
}

#[derive(Debug, Clone)]
enum Token {
    Any,
    One,
    Literal(char),
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Pattern {
    fn new(text: &str) -> Self {
        let is_plain = |text: &str| !text.contains(['*', '?', '[']);
        if is_plain(text) {
            return Self::Exact(text.to_owned());
        }
        match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(rest), _) if is_plain(rest) => Self::Suffix(rest.to_owned()),
            (_, Some(rest)) if is_plain(rest) => Self::Prefix(rest.to_owned()),
            _ => Self::Tokens(tokens(text)),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(text) => name == text,
            Self::Suffix(text) => name.ends_with(text.as_str()),
            Self::Prefix(text) => name.starts_with(text.as_str()),
            Self::Tokens(tokens) => tokens_match(tokens, &name.chars().collect::<Vec<_>>()),
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let characters: Vec<char> = text.chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < characters.len() {
        match characters[at] {
            '*' => tokens.push(Token::Any),
            '?' => tokens.push(Token::One),
            '[' => match set(&characters[at + 1..]) {
                Some((token, length)) => {
                    tokens.push(token);
                    at += length;
                }
                None => tokens.push(Token::Literal('[')),
            },
            character => tokens.push(Token::Literal(character)),
        }
        at += 1;
    }
    tokens
}

/// A set behind its `[`, and how many characters it takes with its `]`.
fn set(text: &[char]) -> Option<(Token, usize)> {
    let negated = text.first() == Some(&'!');
    let from = usize::from(negated);
    // A `]` that comes first belongs to the set.
    let close = (from + 1..text.len()).find(|at| text[*at] == ']')?;
    let (members, mut ranges, mut at) = (&text[from..close], Vec::new(), 0);
    while at < members.len() {
        let is_range = at + 2 < members.len() && members[at + 1] == '-';
        let last = if is_range { members[at + 2] } else { members[at] };
        ranges.push((members[at], last));
        at += if is_range { 3 } else { 1 };
    }
    Some((Token::Set { negated, ranges }, close + 1))
}

/// Goes back to the last `*` only, which is enough: an earlier one cannot do better.
fn tokens_match(tokens: &[Token], name: &[char]) -> bool {
    let (mut token, mut at, mut back) = (0, 0, None);
    while at < name.len() {
        match tokens.get(token) {
            Some(Token::Any) => {
                back = Some((token, at));
                token += 1;
            }
            Some(one) if one.fits(name[at]) => {
                token += 1;
                at += 1;
            }
            _ => {
                let Some((star, from)) = back else { return false };
                back = Some((star, from + 1));
                token = star + 1;
                at = from + 1;
            }
        }
    }
    tokens[token..].iter().all(|token| matches!(token, Token::Any))
}

impl Token {
    fn fits(&self, character: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Literal(literal) => *literal == character,
            Self::Set { negated, ranges } => {
                let is_in =
                    ranges.iter().any(|(first, last)| (*first..=*last).contains(&character));
                is_in != *negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Patterns::new([pattern]).matches(name)
    }

    #[test]
    fn patterns_match_as_a_shell_does() {
        for (pattern, name, expected) in [
            ("*.tmp", "a.tmp", true),
            ("*.tmp", "a.TMP", false),
            ("*.tmp", "a.tmp.txt", false),
            ("~$*", "~$report.docx", true),
            ("~$*", "report~$.docx", false),
            (".DS_Store", ".DS_Store", true),
            (".DS_Store", "x.DS_Store", false),
            ("?.txt", "é.txt", true),
            ("?.txt", ".txt", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("*ab", "aab", true),
            ("file[0-9].log", "file7.log", true),
            ("file[0-9].log", "filex.log", false),
            ("file[!0-9].log", "filex.log", true),
            ("file[!0-9].log", "file7.log", false),
            ("[]]", "]", true),
            ("[!]]", "]", false),
            ("[a-]", "-", true),
            ("[abc", "[abc", true),
            ("a[", "a[", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("**", "anything", true),
            ("a*[xy]?", "abcxz", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "`{pattern}` and `{name}`");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_time() {
        let pattern = format!("{}b", "a*".repeat(40));
        assert!(!matches(&pattern, &"a".repeat(4000)));
    }
}
