//! A statement word by word: enough to see what it names, where its grammar is plain. Pure.

use super::{
    classify::catalog_name,
    lex::{Token, TokenKind, tokens},
};

/// Reads a text word by word.
pub(crate) struct Words<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
}

impl<'a> Words<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let mut tokens = tokens(text);
        tokens.retain(Token::is_significant);
        Self {
            text,
            tokens,
            at: 0,
        }
    }

    /// How many tokens there are.
    pub(crate) fn count(&self) -> usize {
        self.tokens.len()
    }

    /// Goes on at a token.
    pub(crate) fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    pub(crate) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    /// The byte where the next token begins.
    pub(crate) fn byte(&self) -> usize {
        self.peek()
            .map_or(self.text.len(), |token| token.range.start)
    }

    /// Where the last token that was taken ends.
    pub(crate) fn end(&self) -> usize {
        let last = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        last.map_or(0, |token| token.range.end)
    }

    /// Takes the key word, if it is the next one.
    pub(crate) fn word(&mut self, word: &str) -> bool {
        let is_next = self.peek().is_some_and(|t| t.is_word(self.text, word));
        self.at += usize::from(is_next);
        is_next
    }

    /// Takes these key words, if they are the next ones.
    pub(crate) fn words(&mut self, words: &[&str]) -> bool {
        let start = self.at;
        let all = words.iter().all(|word| self.word(word));
        if !all {
            self.at = start;
        }
        all
    }

    /// Takes the first of these key words that is the next one.
    pub(crate) fn one_of<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        words.iter().copied().find(|word| self.word(word))
    }

    /// Takes a name.
    pub(crate) fn name(&mut self) -> Option<String> {
        let token = self.peek()?;
        let text = token.text(self.text);
        if !matches!(token.kind, TokenKind::Word | TokenKind::QuotedName) {
            return None;
        }
        let name = catalog_name(text);
        self.at += 1;
        Some(name)
    }

    /// Takes a name with what is in front of it.
    pub(crate) fn path(&mut self) -> Option<Vec<String>> {
        let mut path = vec![self.name()?];
        while self
            .peek()
            .is_some_and(|token| token.text(self.text) == ".")
        {
            self.at += 1;
            path.push(self.name()?);
        }
        Some(path)
    }

    /// Takes what is in parentheses.
    pub(crate) fn group(&mut self) {
        if self
            .peek()
            .is_none_or(|token| token.kind != TokenKind::Open)
        {
            return;
        }
        let mut depth = 0_usize;
        while let Some(kind) = self.peek().map(|token| token.kind) {
            self.at += 1;
            if kind == TokenKind::Open {
                depth += 1;
            } else if kind == TokenKind::Close {
                depth = depth.saturating_sub(1);
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Takes a comma, if it is next.
    pub(crate) fn comma(&mut self) -> bool {
        let is_next = self.peek().is_some_and(|t| t.kind == TokenKind::Comma);
        self.at += usize::from(is_next);
        is_next
    }

    /// Takes everything up to the next comma that is in no parentheses, and the comma; whether there was one.
    pub(crate) fn behind_comma(&mut self) -> bool {
        while self.peek().is_some() {
            if self.comma() {
                return true;
            }
            let at = self.at;
            self.group();
            if self.at == at {
                self.at += 1;
            }
        }
        false
    }
}
