//! `COPY … TO STDOUT` and its options.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::tokens::Cursor;
use super::{Command, parse_query};
use crate::encode::copy::{CopyFormat, CopyOptions};
use crate::fault::Fault;

pub(super) fn copy(cursor: &mut Cursor<'_>) -> Result<Command, Fault> {
    let query = if cursor.peek() == Some(&Token::LParen) {
        let text = cursor.parenthesized()?;
        parse_query(&text, cursor.sql())?
    } else {
        let table = cursor.taken(|cursor| cursor.dotted_name().map(|_| ()))?;
        let columns = if cursor.peek() == Some(&Token::LParen) {
            cursor.parenthesized()?.trim().to_owned()
        } else {
            "*".to_owned()
        };
        // the places in this text are not the client's
        let text = format!("SELECT {columns} FROM {table}");
        parse_query(&text, &text).map_err(|fault| Fault {
            position: None,
            ..fault
        })?
    };
    if cursor.word("from") {
        return Err(
            Fault::error("25006", "cannot execute COPY FROM in a read-only transaction")
                .with_hint("Lakegate only reads; change what it serves by its manifests."),
        );
    }
    if !cursor.word("to") {
        return Err(cursor.unexpected());
    }
    if !cursor.word("stdout") {
        return Err(Fault::error(
            "42501",
            "COPY to a file or program of the server is not supported",
        )
        .with_hint("Use COPY … TO STDOUT, or psql's \\copy."));
    }
    Ok(Command::CopyOut {
        query,
        options: copy_options(cursor)?,
    })
}

#[derive(Default)]
struct RawOptions {
    format: Option<CopyFormat>,
    delimiter: Option<String>,
    null: Option<String>,
    header: bool,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: bool,
}

fn copy_options(cursor: &mut Cursor<'_>) -> Result<CopyOptions, Fault> {
    let mut raw = RawOptions::default();
    cursor.word("with");
    if cursor.token(&Token::LParen) {
        loop {
            copy_option(cursor, &mut raw)?;
            if !cursor.token(&Token::Comma) {
                break;
            }
        }
        if !cursor.token(&Token::RParen) {
            return Err(cursor.unexpected());
        }
    } else {
        while !cursor.at_end() {
            legacy_option(cursor, &mut raw)?;
        }
    }
    finish_options(raw)
}

fn copy_option(cursor: &mut Cursor<'_>, raw: &mut RawOptions) -> Result<(), Fault> {
    let name = cursor.name()?;
    let text = |cursor: &mut Cursor<'_>| cursor.string().or_else(|_| cursor.name());
    match name.as_str() {
        "format" => {
            let format = text(cursor)?;
            raw.format = Some(match format.as_str() {
                "text" => CopyFormat::Text,
                "csv" => CopyFormat::Csv,
                "binary" => CopyFormat::Binary,
                _ => {
                    return Err(Fault::error(
                        "22023",
                        format!("COPY format \"{format}\" not recognized"),
                    ));
                }
            });
        }
        "delimiter" => raw.delimiter = Some(text(cursor)?),
        "null" => raw.null = Some(text(cursor)?),
        "quote" => raw.quote = Some(text(cursor)?),
        "escape" => raw.escape = Some(text(cursor)?),
        "header" => {
            raw.header = match cursor.peek() {
                None | Some(Token::Comma | Token::RParen) => true,
                _ => match cursor
                    .number()
                    .map_or_else(|| text(cursor), Ok)?
                    .to_lowercase()
                    .as_str()
                {
                    "true" | "on" | "1" => true,
                    "false" | "off" | "0" => false,
                    "match" => {
                        return Err(Fault::error(
                            "22023",
                            "cannot use \"match\" with HEADER in COPY TO",
                        ));
                    }
                    _ => {
                        return Err(Fault::error(
                            "22023",
                            "header requires a Boolean value or \"match\"",
                        ));
                    }
                },
            };
        }
        "force_quote" => {
            if !cursor.token(&Token::Mul) {
                cursor.parenthesized()?;
            }
            raw.force_quote = true;
        }
        "encoding" => utf8_only(&text(cursor)?)?,
        _ => return Err(Fault::error("22023", format!("option \"{name}\" not recognized"))),
    }
    Ok(())
}

/// The options before PostgreSQL 9.0, which psql users still type: `CSV HEADER DELIMITER ';'`.
fn legacy_option(cursor: &mut Cursor<'_>, raw: &mut RawOptions) -> Result<(), Fault> {
    let value = |cursor: &mut Cursor<'_>| {
        cursor.word("as");
        cursor.string().map(Some)
    };
    if cursor.word("binary") {
        raw.format = Some(CopyFormat::Binary);
    } else if cursor.word("csv") {
        raw.format = Some(CopyFormat::Csv);
    } else if cursor.word("header") {
        raw.header = true;
    } else if cursor.word("delimiter") || cursor.word("delimiters") {
        raw.delimiter = value(cursor)?;
    } else if cursor.word("null") {
        raw.null = value(cursor)?;
    } else if cursor.word("quote") {
        raw.quote = value(cursor)?;
    } else if cursor.word("escape") {
        raw.escape = value(cursor)?;
    } else if cursor.words(&["force", "quote"]) {
        raw.force_quote = true;
        if !cursor.token(&Token::Mul) {
            cursor.name()?;
            while cursor.token(&Token::Comma) {
                cursor.name()?;
            }
        }
    } else if cursor.word("encoding") {
        utf8_only(&cursor.string()?)?;
    } else {
        return Err(cursor.unexpected());
    }
    Ok(())
}

fn utf8_only(name: &str) -> Result<(), Fault> {
    match name.to_lowercase().replace(['-', '_'], "").as_str() {
        "utf8" | "unicode" => Ok(()),
        _ => Err(Fault::error(
            "22023",
            "argument to option \"encoding\" must be UTF8",
        )),
    }
}

fn finish_options(raw: RawOptions) -> Result<CopyOptions, Fault> {
    let mut options = CopyOptions::of(raw.format.unwrap_or(CopyFormat::Text));
    let csv = options.format == CopyFormat::Csv;
    if options.format == CopyFormat::Binary && (raw.delimiter.is_some() || raw.null.is_some() || raw.header) {
        return Err(Fault::error(
            "42601",
            "cannot specify DELIMITER, NULL or HEADER in BINARY mode",
        ));
    }
    if !csv && (raw.quote.is_some() || raw.escape.is_some() || raw.force_quote) {
        return Err(Fault::error(
            "0A000",
            "COPY quote, escape and force quote are available only in CSV mode",
        ));
    }
    let single = |name: &str, text: String| match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(*byte),
        _ => Err(Fault::error(
            "0A000",
            format!("COPY {name} must be a single one-byte character"),
        )),
    };
    if let Some(delimiter) = raw.delimiter {
        options.delimiter = single("delimiter", delimiter)?;
    }
    if let Some(quote) = raw.quote {
        options.quote = single("quote", quote)?;
        options.escape = options.quote;
    }
    if let Some(escape) = raw.escape {
        options.escape = single("escape", escape)?;
    }
    if let Some(null) = raw.null {
        if null.contains(['\n', '\r']) {
            return Err(Fault::error(
                "22023",
                "COPY null representation cannot use newline or carriage return",
            ));
        }
        options.null = null;
    }
    if options.delimiter == options.quote && csv {
        return Err(Fault::error(
            "22023",
            "COPY delimiter and quote must be different",
        ));
    }
    options.header = raw.header;
    options.force_quote = raw.force_quote;
    Ok(options)
}
