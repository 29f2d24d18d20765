//! Tokens with their places, cut into statements.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};
use lakegate_federation::FederationError;

use crate::fault::Fault;

/// A tokenized text.
pub struct Text<'a> {
    sql: &'a str,
    tokens: Vec<TokenWithSpan>,
    /// The byte at which each line begins.
    lines: Vec<usize>,
}

impl<'a> Text<'a> {
    pub fn tokenize(sql: &'a str) -> Result<Self, Fault> {
        let mut tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
            .tokenize_with_location()
            .map_err(|error| super::syntax_fault(&FederationError::from(ParserError::from(error)), sql))?;
        tokens.retain(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
        let mut lines = vec![0];
        lines.extend(
            sql.bytes()
                .enumerate()
                .filter(|(_, byte)| *byte == b'\n')
                .map(|(index, _)| index + 1),
        );
        Ok(Text { sql, tokens, lines })
    }

    /// The statements between semicolons that are not empty.
    pub fn statements(&self) -> Vec<Cursor<'_>> {
        self.tokens
            .split(|token| token.token == Token::SemiColon)
            .filter(|tokens| !tokens.is_empty())
            .map(|tokens| Cursor {
                text: self,
                tokens,
                next: 0,
            })
            .collect()
    }

    /// The byte of a place; lines and columns count from 1, columns in characters.
    fn offset(&self, location: Location) -> usize {
        let line = usize::try_from(location.line).unwrap_or(1).max(1) - 1;
        let start = self.lines.get(line).copied().unwrap_or(self.sql.len());
        let column = usize::try_from(location.column).unwrap_or(1).max(1) - 1;
        self.sql[start..]
            .char_indices()
            .nth(column)
            .map_or(self.sql.len(), |(index, _)| start + index)
    }
}

/// A place within one statement.
pub struct Cursor<'a> {
    text: &'a Text<'a>,
    tokens: &'a [TokenWithSpan],
    next: usize,
}

impl<'a> Cursor<'a> {
    /// The statement's text from the next token on.
    pub fn text(&self) -> &'a str {
        self.range(self.next, self.tokens.len())
            .map_or("", |(from, until)| &self.text.sql[from..until])
    }

    fn range(&self, from: usize, until: usize) -> Option<(usize, usize)> {
        let (first, last) = (self.tokens.get(from)?, self.tokens.get(until.checked_sub(1)?)?);
        Some((
            self.text.offset(first.span.start),
            self.text.offset(last.span.end),
        ))
    }

    /// The whole text with everything blanked out but the statement from the next token on.
    pub fn blanked(&self) -> String {
        self.blanked_range(self.next, self.tokens.len())
    }

    fn blanked_range(&self, from: usize, until: usize) -> String {
        let Some((from, until)) = self.range(from, until) else {
            return String::new();
        };
        let sql = self.text.sql;
        // one blank a character: places count characters
        let mut blanked: String = sql[..from]
            .chars()
            .map(|character| if character == '\n' { '\n' } else { ' ' })
            .collect();
        blanked.push_str(&sql[from..until]);
        blanked
    }

    pub fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.next).map(|token| &token.token)
    }

    fn peek_at(&self, ahead: usize) -> Option<&'a Token> {
        self.tokens.get(self.next + ahead).map(|token| &token.token)
    }

    pub fn advance(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.next += usize::from(token.is_some());
        token
    }

    pub fn at_end(&self) -> bool {
        self.next >= self.tokens.len()
    }

    pub fn rewind(&mut self) {
        self.next = 0;
    }

    /// Whether the token `ahead` is this word, unquoted, in whatever case.
    pub fn is_word(&self, ahead: usize, word: &str) -> bool {
        matches!(self.peek_at(ahead), Some(Token::Word(found))
            if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    }

    /// Whether the token `ahead` is an equals sign.
    pub fn is_equals(&self, ahead: usize) -> bool {
        self.peek_at(ahead) == Some(&Token::Eq)
    }

    /// Whether the next token is the last one.
    pub fn is_last(&self) -> bool {
        self.next + 1 == self.tokens.len()
    }

    /// The whole text the client sent.
    pub fn sql(&self) -> &'a str {
        self.text.sql
    }

    /// Takes the next token if it is this word.
    pub fn word(&mut self, word: &str) -> bool {
        let found = self.is_word(0, word);
        self.next += usize::from(found);
        found
    }

    /// Takes all these words or none.
    pub fn words(&mut self, words: &[&str]) -> bool {
        let found = words
            .iter()
            .enumerate()
            .all(|(ahead, word)| self.is_word(ahead, word));
        if found {
            self.next += words.len();
        }
        found
    }

    /// Takes the next token if it is this one.
    pub fn token(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        self.next += usize::from(found);
        found
    }

    /// A name: unquoted it folds to lower case.
    pub fn name(&mut self) -> Result<String, Fault> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.next += 1;
                Ok(match word.quote_style {
                    Some(_) => word.value.clone(),
                    None => word.value.to_lowercase(),
                })
            }
            _ => Err(self.unexpected()),
        }
    }

    /// `name` or `prefix.name`.
    pub fn dotted_name(&mut self) -> Result<String, Fault> {
        let mut name = self.name()?;
        while self.token(&Token::Period) {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Ok(name)
    }

    /// A string constant.
    pub fn string(&mut self) -> Result<String, Fault> {
        match self.peek() {
            Some(
                Token::SingleQuotedString(text)
                | Token::EscapedStringLiteral(text)
                | Token::NationalStringLiteral(text)
                | Token::UnicodeStringLiteral(text),
            ) => {
                self.next += 1;
                Ok(text.clone())
            }
            Some(Token::DollarQuotedString(text)) => {
                self.next += 1;
                Ok(text.value.clone())
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A number constant, with its sign.
    pub fn number(&mut self) -> Option<String> {
        let (sign, ahead) = match self.peek() {
            Some(Token::Minus) => ("-", 1),
            Some(Token::Plus) => ("", 1),
            _ => ("", 0),
        };
        match self.peek_at(ahead) {
            Some(Token::Number(digits, _)) => {
                self.next += ahead + 1;
                Some(format!("{sign}{digits}"))
            }
            _ => None,
        }
    }

    /// Takes `( … )` and gives the text between, blanked as [`Cursor::blanked`].
    pub fn parenthesized(&mut self) -> Result<String, Fault> {
        if !self.token(&Token::LParen) {
            return Err(self.unexpected());
        }
        let start = self.next;
        let mut depth = 1_usize;
        while let Some(token) = self.advance() {
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(self.blanked_range(start, self.next - 1));
            }
        }
        Err(self.unexpected())
    }

    /// The text of the tokens that `take` takes.
    pub fn taken(&mut self, take: impl FnOnce(&mut Self) -> Result<(), Fault>) -> Result<&'a str, Fault> {
        let start = self.next;
        take(self)?;
        Ok(self
            .range(start, self.next)
            .map_or("", |(from, until)| &self.text.sql[from..until]))
    }

    /// Nothing more may follow.
    pub fn end(&self) -> Result<(), Fault> {
        if self.at_end() {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    /// `syntax error at or near` the next token.
    pub fn unexpected(&self) -> Fault {
        match self.tokens.get(self.next) {
            Some(token) => {
                let from = self.text.offset(token.span.start);
                let near = &self.text.sql[from..self.text.offset(token.span.end)];
                Fault {
                    position: Some(self.text.sql[..from].chars().count() + 1),
                    ..Fault::error("42601", format!("syntax error at or near \"{near}\""))
                }
            }
            None => Fault {
                position: self
                    .range(0, self.tokens.len())
                    .map(|(_, end)| self.text.sql[..end].chars().count() + 1),
                ..Fault::error("42601", "syntax error at end of input")
            },
        }
    }

    /// The keyword of the next token.
    pub fn keyword(&self) -> Keyword {
        match self.peek() {
            Some(Token::Word(word)) if word.quote_style.is_none() => word.keyword,
            _ => Keyword::NoKeyword,
        }
    }
}
