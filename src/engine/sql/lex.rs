//! PostgreSQL's lexical rules, as far as they decide where a statement ends. Pure.
//!
//! Independent of the parser on purpose: the boundaries found here must equal the parser's, so
//! that a fault in either one is noticed before anything runs (see [`super::parse`]).

use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// White space.
    Space,
    /// `-- …` or `/* … */`.
    Comment,
    /// Identifier or key word, unquoted.
    Word,
    /// `"…"`, also `U&"…"`.
    QuotedName,
    /// Any string constant in single quotes.
    Text,
    /// `$tag$ … $tag$`.
    DollarText,
    /// A number.
    Number,
    /// `;`
    Semicolon,
    /// `(` or `[`
    Open,
    /// `)` or `]`
    Close,
    /// `,`
    Comma,
    /// `\`: never SQL, the start of a psql command.
    Backslash,
    /// Operators, dots, parameters.
    Other,
}

/// One token and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    /// Bytes of the file.
    pub(crate) range: Range<usize>,
    /// False for a string, name or comment that reaches the end of the file.
    pub(crate) terminated: bool,
}

impl Token {
    /// White space and comments mean nothing to the server.
    pub(crate) fn is_significant(&self) -> bool {
        !matches!(self.kind, TokenKind::Space | TokenKind::Comment)
    }

    /// A string constant of any notation.
    pub(crate) fn is_constant(&self) -> bool {
        matches!(self.kind, TokenKind::Text | TokenKind::DollarText)
    }

    /// The token's text.
    pub(crate) fn text<'a>(&self, file: &'a str) -> &'a str {
        file.get(self.range.clone()).unwrap_or_default()
    }

    /// Whether this is the key word `word` (ASCII case ignored, as PostgreSQL does).
    pub(crate) fn is_word(&self, file: &str, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text(file).eq_ignore_ascii_case(word)
    }
}

/// All tokens of `text`; their ranges tile it.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer::new(text);
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token() {
        tokens.push(token);
    }
    tokens
}

/// Reads a text token by token.
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }
}

impl Lexer<'_> {
    /// Leaves out what is in front of this byte.
    pub(crate) fn skip_to(&mut self, byte: usize) {
        self.at = byte;
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn skip_while(&mut self, accept: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&accept) {
            self.at += 1;
        }
    }

    /// The next token; none at the end.
    pub(crate) fn next_token(&mut self) -> Option<Token> {
        let start = self.at;
        let (kind, terminated) = self.scan(self.peek(0)?);
        Some(Token {
            kind,
            range: start..self.at,
            terminated,
        })
    }

    fn scan(&mut self, first: u8) -> (TokenKind, bool) {
        match (first, self.peek(1)) {
            (b, _) if is_space(b) => {
                self.skip_while(is_space);
                (TokenKind::Space, true)
            }
            (b'-', Some(b'-')) => {
                self.skip_while(|b| b != b'\n' && b != b'\r');
                (TokenKind::Comment, true)
            }
            (b'/', Some(b'*')) => (TokenKind::Comment, self.block_comment()),
            (b'\'', _) => (TokenKind::Text, self.string(false)),
            (b'"', _) => (TokenKind::QuotedName, self.quoted_name()),
            (b'e' | b'E', Some(b'\'')) => {
                self.at += 1;
                (TokenKind::Text, self.string(true))
            }
            (b'b' | b'B' | b'x' | b'X' | b'n' | b'N', Some(b'\'')) => {
                self.at += 1;
                (TokenKind::Text, self.string(false))
            }
            (b'u' | b'U', Some(b'&')) if self.peek(2) == Some(b'\'') => {
                self.at += 2;
                (TokenKind::Text, self.string(false))
            }
            (b'u' | b'U', Some(b'&')) if self.peek(2) == Some(b'"') => {
                self.at += 2;
                (TokenKind::QuotedName, self.quoted_name())
            }
            (b'$', _) => self.dollar(),
            (b, _) if is_word_start(b) => {
                self.skip_while(is_word_part);
                (TokenKind::Word, true)
            }
            (b, _) if b.is_ascii_digit() => self.number(),
            (b'.', Some(b)) if b.is_ascii_digit() => self.number(),
            (b, _) => {
                self.at += 1;
                (punctuation(b), true)
            }
        }
    }

    fn number(&mut self) -> (TokenKind, bool) {
        loop {
            self.skip_while(is_word_part);
            if self.peek(0) == Some(b'.') && self.peek(1).is_some_and(|b| b.is_ascii_digit()) {
                self.at += 1;
            } else {
                return (TokenKind::Number, true);
            }
        }
    }

    /// Block comments nest in PostgreSQL.
    fn block_comment(&mut self) -> bool {
        let mut depth = 0_usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (None, _) => return false,
                (Some(b'/'), Some(b'*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (Some(b'*'), Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return true;
                    }
                }
                (Some(_), _) => self.at += 1,
            }
        }
    }

    /// From the opening quote to the closing one. With `escapes` (`E'…'`) a backslash takes the
    /// next byte with it, also in the pieces that continue the constant on later lines.
    fn string(&mut self, escapes: bool) -> bool {
        self.at += 1;
        loop {
            match (self.peek(0), self.peek(1)) {
                (None, _) => return false,
                (Some(b'\''), Some(b'\'')) => self.at += 2,
                (Some(b'\''), _) => {
                    self.at += 1;
                    if !(escapes && self.continues()) {
                        return true;
                    }
                }
                (Some(b'\\'), Some(_)) if escapes => self.at += 2,
                (Some(_), _) => self.at += 1,
            }
        }
    }

    /// A string constant goes on after white space with a line break in it; moves behind the
    /// quote that opens the next piece.
    fn continues(&mut self) -> bool {
        let end = self.at;
        let mut line_break = false;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b'\n' | b'\r'), _) => {
                    line_break = true;
                    self.at += 1;
                }
                (Some(b), _) if is_space(b) => self.at += 1,
                (Some(b'-'), Some(b'-')) => self.skip_while(|b| b != b'\n' && b != b'\r'),
                (Some(b'\''), _) if line_break => {
                    self.at += 1;
                    return true;
                }
                _ => {
                    self.at = end;
                    return false;
                }
            }
        }
    }

    fn quoted_name(&mut self) -> bool {
        self.at += 1;
        loop {
            match (self.peek(0), self.peek(1)) {
                (None, _) => return false,
                (Some(b'"'), Some(b'"')) => self.at += 2,
                (Some(b'"'), _) => {
                    self.at += 1;
                    return true;
                }
                (Some(_), _) => self.at += 1,
            }
        }
    }

    fn dollar(&mut self) -> (TokenKind, bool) {
        let start = self.at;
        self.at += 1;
        if self.peek(0).is_some_and(is_word_start) {
            self.skip_while(|b| is_word_part(b) && b != b'$');
        }
        if self.peek(0) != Some(b'$') {
            // `$1` or a stray dollar
            self.at = start + 1;
            self.skip_while(|b| b.is_ascii_digit());
            return (TokenKind::Other, true);
        }
        self.at += 1;
        let tag = self.text.get(start..self.at).unwrap_or_default();
        let body = self.text.get(self.at..).unwrap_or_default();
        if let Some(length) = body.find(tag) {
            self.at += length + tag.len();
            (TokenKind::DollarText, true)
        } else {
            self.at = self.text.len();
            (TokenKind::DollarText, false)
        }
    }
}

fn punctuation(byte: u8) -> TokenKind {
    match byte {
        b';' => TokenKind::Semicolon,
        b'(' | b'[' => TokenKind::Open,
        b')' | b']' => TokenKind::Close,
        b',' => TokenKind::Comma,
        b'\\' => TokenKind::Backslash,
        _ => TokenKind::Other,
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// Every byte of a character outside ASCII may stand in a name.
fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word_part(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn significant(text: &str) -> Vec<(TokenKind, &str)> {
        tokens(text)
            .iter()
            .filter(|t| t.is_significant())
            .map(|t| (t.kind, t.text(text)))
            .collect()
    }

    #[test]
    fn strings_names_and_comments_hide_their_insides() {
        use TokenKind::{Comment, DollarText, QuotedName, Text, Word};
        for (text, expected) in [
            ("'a;''b'", vec![(Text, "'a;''b'")]),
            (r"'\'", vec![(Text, r"'\'")]),
            (r"E'\';' x", vec![(Text, r"E'\';'"), (Word, "x")]),
            ("E'a'\n'\\';'", vec![(Text, "E'a'\n'\\';'")]),
            ("E'a' -- c\n 'b\\''", vec![(Text, "E'a' -- c\n 'b\\''")]),
            ("E'a' 'b'", vec![(Text, "E'a'"), (Text, "'b'")]),
            ("U&'d\\0061'", vec![(Text, "U&'d\\0061'")]),
            ("U&\"d;\"", vec![(QuotedName, "U&\"d;\"")]),
            (
                "x'1F' B'01' n'q'",
                vec![(Text, "x'1F'"), (Text, "B'01'"), (Text, "n'q'")],
            ),
            ("\"a\"\";b\"", vec![(QuotedName, "\"a\"\";b\"")]),
            ("$$a;'$$", vec![(DollarText, "$$a;'$$")]),
            ("$x$ $$ ; $y$ $x$", vec![(DollarText, "$x$ $$ ; $y$ $x$")]),
            ("$ä$;$ä$", vec![(DollarText, "$ä$;$ä$")]),
            ("a$b$c", vec![(Word, "a$b$c")]),
        ] {
            assert_eq!(significant(text), expected, "{text}");
        }
        let nested = "/* a /* ; */ b */";
        assert_eq!(
            tokens(nested).first().map(|t| (t.kind, t.range.end)),
            Some((Comment, nested.len()))
        );
    }

    #[test]
    fn parameters_are_not_dollar_quotes() {
        assert_eq!(
            significant("$1;$2"),
            [
                (TokenKind::Other, "$1"),
                (TokenKind::Semicolon, ";"),
                (TokenKind::Other, "$2")
            ]
        );
    }

    #[test]
    fn what_never_ends_is_marked() {
        for text in ["'a", "\"a", "$$ a", "/* /* */", "E'\\'", "$x$ $$"] {
            let last = tokens(text).pop().unwrap();
            assert!(!last.terminated, "{text}");
            assert_eq!(last.range.end, text.len(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn tokens_tile_any_text(text in "(?s)[-a-cE'\"$;(),/*\\\\ \nüU&x0-2.]{0,60}") {
            let mut at = 0;
            for token in tokens(&text) {
                prop_assert_eq!(token.range.start, at);
                prop_assert!(token.range.end > at);
                prop_assert!(text.is_char_boundary(token.range.end));
                at = token.range.end;
            }
            prop_assert_eq!(at, text.len());
        }
    }
}
