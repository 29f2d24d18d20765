//! The utility statements.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;
use lakegate_federation::{ParameterKind, find_parameter, quote_identifier};

use super::copy::copy;
use super::tokens::Cursor;
use super::{Command, FetchCount, Reach, parse_query};
use crate::fault::Fault;

type Parsed = Result<Command, Fault>;

/// Reads a utility statement; None when the statement is SQL for the planner, and the cursor is where
/// it was.
pub fn parse(cursor: &mut Cursor<'_>) -> Result<Option<Command>, Fault> {
    let keyword = cursor.keyword();
    let word = match cursor.peek() {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_lowercase(),
        _ => return Ok(None),
    };
    cursor.advance();
    let command = match (keyword, word.as_str()) {
        (Keyword::SET, _) => set(cursor),
        (Keyword::SHOW, _) => show(cursor),
        (Keyword::RESET, _) => reset(cursor),
        (Keyword::DISCARD, _) => discard(cursor),
        (Keyword::DEALLOCATE, _) => deallocate(cursor),
        (Keyword::BEGIN, _) => {
            let _ = cursor.word("work") || cursor.word("transaction");
            begin(cursor, "BEGIN")
        }
        (Keyword::START, _) if cursor.word("transaction") => begin(cursor, "START TRANSACTION"),
        (Keyword::COMMIT | Keyword::END, _) => {
            if cursor.word("prepared") {
                return Err(two_phase());
            }
            Ok(Command::Commit { chain: end(cursor) })
        }
        (Keyword::ROLLBACK | Keyword::ABORT, _) => rollback(cursor),
        (Keyword::SAVEPOINT, _) => cursor.name().map(Command::Savepoint),
        (Keyword::RELEASE, _) => {
            if !cursor.is_word(1, "savepoint") {
                cursor.word("savepoint");
            }
            cursor.name().map(Command::Release)
        }
        (Keyword::PREPARE, _) if cursor.word("transaction") => return Err(two_phase()),
        (Keyword::PREPARE | Keyword::EXECUTE, _) => {
            return Err(
                Fault::error("0A000", "PREPARE and EXECUTE as SQL are not supported")
                    .with_hint("Use the prepared statements of your driver: they work."),
            );
        }
        (Keyword::DECLARE, _) => declare(cursor),
        (Keyword::FETCH, _) => fetch(cursor, false),
        (_, "move") => fetch(cursor, true),
        (Keyword::CLOSE, _) => {
            if cursor.word("all") {
                Ok(Command::CloseCursor(None))
            } else {
                cursor.name().map(|name| Command::CloseCursor(Some(name)))
            }
        }
        (Keyword::COPY, _) => copy(cursor),
        (_, "unlisten") => {
            cursor.advance();
            Ok(Command::Nothing("UNLISTEN"))
        }
        (_, "listen" | "notify") => {
            return Err(
                Fault::error("0A000", format!("{} is not supported", word.to_uppercase()))
                    .with_detail("Lakegate only reads; nothing notifies."),
            );
        }
        _ => {
            cursor.rewind();
            return Ok(None);
        }
    }?;
    cursor.end()?;
    Ok(Some(command))
}

fn two_phase() -> Fault {
    Fault::error("0A000", "two-phase commit is not supported")
}

fn set(cursor: &mut Cursor<'_>) -> Parsed {
    if cursor.words(&["session", "characteristics", "as", "transaction"])
        || cursor.word("transaction")
        || cursor.word("constraints")
        || cursor.words(&["local", "transaction"])
    {
        while cursor.advance().is_some() {}
        return Ok(Command::SetNothing);
    }
    let mut reach = Reach::Session;
    if !is_assignment(cursor, 1) {
        if cursor.word("local") {
            reach = Reach::Local;
        } else {
            cursor.word("session");
        }
    }
    if cursor.word("authorization") {
        let wanted = cursor.name().or_else(|_| cursor.string())?;
        return Ok(Command::Set {
            reach,
            name: "session_authorization".into(),
            value: (wanted != "default").then_some(wanted),
        });
    }
    if cursor.words(&["time", "zone"]) {
        let value = time_zone(cursor)?;
        return Ok(Command::Set {
            reach,
            name: "TimeZone".into(),
            value,
        });
    }
    if !is_assignment(cursor, 1) {
        for (word, name) in [
            ("names", "client_encoding"),
            ("schema", "search_path"),
            ("role", "role"),
        ] {
            if cursor.word(word) {
                let value = match cursor.string() {
                    Ok(text) if name == "search_path" => Some(quote_identifier(&text)),
                    Ok(text) => Some(text),
                    Err(_) => Some(cursor.name()?).filter(|value| value != "default"),
                };
                return Ok(Command::Set {
                    reach,
                    name: name.into(),
                    value,
                });
            }
        }
        if cursor.words(&["xml", "option"]) {
            let value = Some(cursor.name()?);
            return Ok(Command::Set {
                reach,
                name: "xmloption".into(),
                value,
            });
        }
    }
    let name = cursor.dotted_name()?;
    if !(cursor.token(&Token::Eq) || cursor.word("to")) {
        return Err(cursor.unexpected());
    }
    if cursor.word("default") {
        return Ok(Command::Set {
            reach,
            name,
            value: None,
        });
    }
    let list = find_parameter(&name).is_some_and(|parameter| parameter.kind == ParameterKind::IdentifierList);
    let mut values = vec![set_value(cursor, list)?];
    while cursor.token(&Token::Comma) {
        values.push(set_value(cursor, list)?);
    }
    Ok(Command::Set {
        reach,
        name,
        value: Some(values.join(", ")),
    })
}

fn is_assignment(cursor: &Cursor<'_>, ahead: usize) -> bool {
    // `SET session = …` and `SET local TO …` name settings that do not exist, but `SET names = …`,
    // `SET role = …` and the like must not be taken for their short forms
    cursor.is_word(ahead, "to") || cursor.is_equals(ahead)
}

fn set_value(cursor: &mut Cursor<'_>, list: bool) -> Result<String, Fault> {
    if let Some(number) = cursor.number() {
        return Ok(number);
    }
    if let Ok(text) = cursor.string() {
        return Ok(if list { quote_identifier(&text) } else { text });
    }
    let name = cursor.name()?;
    Ok(if list { quote_identifier(&name) } else { name })
}

fn time_zone(cursor: &mut Cursor<'_>) -> Result<Option<String>, Fault> {
    if cursor.word("default") || cursor.word("local") {
        return Ok(None);
    }
    if cursor.word("interval") {
        let value = cursor.string()?;
        while cursor.word("hour") || cursor.word("to") || cursor.word("minute") {}
        return Ok(Some(value));
    }
    if let Some(hours) = cursor.number() {
        return Ok(Some(hours));
    }
    cursor.string().or_else(|_| cursor.name()).map(Some)
}

/// The setting that `SHOW`, `RESET` and the like name.
fn setting(cursor: &mut Cursor<'_>) -> Result<String, Fault> {
    for (words, name) in [
        (&["time", "zone"][..], "TimeZone"),
        (&["session", "authorization"], "session_authorization"),
        (&["transaction", "isolation", "level"], "transaction_isolation"),
    ] {
        if cursor.words(words) {
            return Ok(name.to_owned());
        }
    }
    cursor.dotted_name()
}

fn show(cursor: &mut Cursor<'_>) -> Parsed {
    if cursor.word("all") {
        Ok(Command::ShowAll)
    } else {
        setting(cursor).map(Command::Show)
    }
}

fn reset(cursor: &mut Cursor<'_>) -> Parsed {
    if cursor.word("all") {
        Ok(Command::ResetAll)
    } else {
        setting(cursor).map(Command::Reset)
    }
}

fn discard(cursor: &mut Cursor<'_>) -> Parsed {
    for (word, tag) in [
        ("all", "DISCARD ALL"),
        ("plans", "DISCARD PLANS"),
        ("sequences", "DISCARD SEQUENCES"),
        ("temp", "DISCARD TEMP"),
        ("temporary", "DISCARD TEMP"),
    ] {
        if cursor.word(word) {
            return Ok(Command::Discard {
                all: word == "all",
                tag,
            });
        }
    }
    Err(cursor.unexpected())
}

fn deallocate(cursor: &mut Cursor<'_>) -> Parsed {
    cursor.word("prepare");
    if cursor.word("all") {
        return Ok(Command::Deallocate(None));
    }
    cursor.name().map(|name| Command::Deallocate(Some(name)))
}

fn begin(cursor: &mut Cursor<'_>, tag: &'static str) -> Parsed {
    let mut isolation = None;
    while !cursor.at_end() {
        if cursor.words(&["isolation", "level"]) {
            isolation = [
                (&["serializable"][..], "serializable"),
                (&["repeatable", "read"], "repeatable read"),
                (&["read", "committed"], "read committed"),
                (&["read", "uncommitted"], "read uncommitted"),
            ]
            .into_iter()
            .find_map(|(words, level)| cursor.words(words).then_some(level));
            if isolation.is_none() {
                return Err(cursor.unexpected());
            }
        } else if !(cursor.words(&["read", "only"])
            // a driver asks for this by habit; writing is refused where it is tried
            || cursor.words(&["read", "write"])
            || cursor.words(&["not", "deferrable"])
            || cursor.word("deferrable")
            || cursor.token(&Token::Comma))
        {
            return Err(cursor.unexpected());
        }
    }
    Ok(Command::Begin { tag, isolation })
}

/// `[WORK | TRANSACTION] [AND [NO] CHAIN]`
fn end(cursor: &mut Cursor<'_>) -> bool {
    let _ = cursor.word("work") || cursor.word("transaction");
    if cursor.words(&["and", "no", "chain"]) {
        return false;
    }
    cursor.words(&["and", "chain"])
}

fn rollback(cursor: &mut Cursor<'_>) -> Parsed {
    if cursor.word("prepared") {
        return Err(two_phase());
    }
    let chain = end(cursor);
    if cursor.word("to") {
        if !cursor.at_end() && cursor.is_word(0, "savepoint") {
            cursor.word("savepoint");
        }
        return cursor.name().map(Command::RollbackTo);
    }
    Ok(Command::Rollback { chain })
}

fn declare(cursor: &mut Cursor<'_>) -> Parsed {
    let name = cursor.name()?;
    let (mut binary, mut scroll) = (false, false);
    loop {
        if cursor.word("binary") {
            binary = true;
        } else if cursor.words(&["no", "scroll"]) || cursor.word("insensitive") || cursor.word("asensitive") {
        } else if cursor.word("scroll") {
            scroll = true;
        } else {
            break;
        }
    }
    if !cursor.word("cursor") {
        return Err(cursor.unexpected());
    }
    if scroll {
        return Err(Fault::error("0A000", "scrollable cursors are not supported")
            .with_hint("Declare the cursor with NO SCROLL and read it forwards."));
    }
    let hold = cursor.words(&["with", "hold"]);
    if !hold {
        cursor.words(&["without", "hold"]);
    }
    if !cursor.word("for") {
        return Err(cursor.unexpected());
    }
    let query = parse_query(&cursor.blanked(), cursor.sql())?;
    while cursor.advance().is_some() {}
    Ok(Command::Declare {
        name,
        binary,
        hold,
        query,
    })
}

fn fetch(cursor: &mut Cursor<'_>, skip: bool) -> Parsed {
    let backwards =
        || Fault::error("55000", "cursor can only scan forward").with_hint("Declare it again to start over.");
    let rows = |number: String| match number.parse::<i64>() {
        Ok(count) => u64::try_from(count)
            .map(FetchCount::Rows)
            .map_err(|_| backwards()),
        Err(_) => Err(Fault::error(
            "22003",
            format!("{number} is out of range for a number of rows"),
        )),
    };
    let mut count = FetchCount::Rows(1);
    if cursor.word("forward") {
        if cursor.word("all") {
            count = FetchCount::All;
        } else if let Some(number) = cursor.number() {
            count = rows(number)?;
        }
    } else if cursor.word("all") {
        count = FetchCount::All;
    } else if let Some(number) = cursor.number() {
        count = rows(number)?;
    } else if ["prior", "first", "last", "absolute", "relative", "backward"]
        .iter()
        .any(|word| cursor.is_word(0, word))
        && !cursor.is_last()
    {
        return Err(backwards());
    } else if !cursor.is_last() {
        cursor.word("next");
    }
    let _ = cursor.word("from") || cursor.word("in");
    let name = cursor.name()?;
    Ok(Command::Fetch { name, count, skip })
}
