//! `jsonb` with parts added, replaced or taken away.

use arrow::datatypes::{Field, FieldRef, Int32Type};

use crate::error::FederationError;
use crate::functions::scaffold::{
    BOOL, Call, Function, INT4, JSONB, Outcome, Returns, TEXT, TEXTS, function, overload,
};
use crate::json::{self, Value};
use crate::types;
use crate::values::read::value_error;

fn parsed(text: &str) -> Result<Value, FederationError> {
    Ok(json::parse(text)?.normal())
}

fn put(value: &Value, out: &mut String) -> Result<bool, FederationError> {
    out.push_str(&value.clone().normal().to_jsonb());
    Ok(true)
}

fn concat(call: &Call<'_>) -> Outcome {
    let (left, right) = (call.texts(0), call.texts(1));
    call.text(|row, out| {
        let joined = match (parsed(left.get(row))?, parsed(right.get(row))?) {
            (Value::Object(mut members), Value::Object(more)) => {
                members.extend(more);
                Value::Object(members)
            }
            (left, right) => {
                let elements = |value| match value {
                    Value::Array(elements) => elements,
                    other => vec![other],
                };
                let mut all = elements(left);
                all.extend(elements(right));
                Value::Array(all)
            }
        };
        put(&joined, out)
    })
}

fn scalar() -> FederationError {
    value_error("22023", "cannot delete from scalar")
}

fn without_key(value: &mut Value, key: &str) -> Result<(), FederationError> {
    match value {
        Value::Object(members) => members.retain(|(name, _)| name != key),
        Value::Array(elements) => {
            elements.retain(|element| !matches!(element, Value::String(text) if text == key));
        }
        _ => return Err(scalar()),
    }
    Ok(())
}

/// Where an index of an array is; a negative one counts from the end.
fn place(length: usize, index: i64) -> Option<usize> {
    let at = if index < 0 {
        length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?
    } else {
        usize::try_from(index).ok()?
    };
    (at < length).then_some(at)
}

fn delete_key(call: &Call<'_>) -> Outcome {
    let (values, keys) = (call.texts(0), call.texts(1));
    call.text(|row, out| {
        let mut value = parsed(values.get(row))?;
        without_key(&mut value, keys.get(row))?;
        put(&value, out)
    })
}

fn delete_keys(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.text(|row, out| {
        let mut value = parsed(values.get(row))?;
        for key in call.text_list(1, row).into_iter().flatten() {
            without_key(&mut value, &key)?;
        }
        put(&value, out)
    })
}

fn delete_index(call: &Call<'_>) -> Outcome {
    let (values, indexes) = (call.texts(0), call.values::<Int32Type>(1));
    call.text(|row, out| {
        let mut value = parsed(values.get(row))?;
        match &mut value {
            Value::Array(elements) => {
                if let Some(at) = place(elements.len(), indexes.get(row).into()) {
                    elements.remove(at);
                }
            }
            Value::Object(_) => {
                return Err(value_error(
                    "22023",
                    "cannot delete from object using integer index",
                ));
            }
            _ => return Err(scalar()),
        }
        put(&value, out)
    })
}

fn delete_at(value: &mut Value, path: &[String]) {
    let [step, rest @ ..] = path else { return };
    match value {
        Value::Object(members) => {
            if rest.is_empty() {
                members.retain(|(name, _)| name != step);
            } else if let Some((_, member)) = members.iter_mut().find(|(name, _)| name == step) {
                delete_at(member, rest);
            }
        }
        Value::Array(elements) => {
            let at = step.parse().ok().and_then(|index| place(elements.len(), index));
            if let Some(at) = at {
                if rest.is_empty() {
                    elements.remove(at);
                } else {
                    delete_at(&mut elements[at], rest);
                }
            }
        }
        _ => {}
    }
}

fn delete_path(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.text(|row, out| {
        let mut value = parsed(values.get(row))?;
        let path: Vec<String> = call.text_list(1, row).into_iter().flatten().collect();
        delete_at(&mut value, &path);
        put(&value, out)
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Edit {
    Set { create: bool },
    Insert { after: bool },
}

fn edit(value: &mut Value, path: &[String], new: &Value, how: Edit) -> Result<(), FederationError> {
    let [step, rest @ ..] = path else { return Ok(()) };
    match value {
        Value::Object(members) => {
            let known = members.iter_mut().find(|(name, _)| name == step);
            match (known, rest.is_empty()) {
                (Some((_, member)), false) => return edit(member, rest, new, how),
                (Some((_, member)), true) => match how {
                    Edit::Set { .. } => *member = new.clone(),
                    Edit::Insert { .. } => {
                        return Err(value_error("22023", "cannot replace existing key"));
                    }
                },
                (None, true) if how != (Edit::Set { create: false }) => {
                    members.push((step.clone(), new.clone()));
                }
                (None, _) => {}
            }
        }
        Value::Array(elements) => {
            let index: i64 = step.parse().map_err(|_| {
                value_error(
                    "22P02",
                    format!("path element at position 1 is not an integer: \"{step}\""),
                )
            })?;
            let at = place(elements.len(), index);
            match (at, rest.is_empty(), how) {
                (Some(at), false, _) => return edit(&mut elements[at], rest, new, how),
                (Some(at), true, Edit::Set { .. }) => elements[at] = new.clone(),
                (Some(at), true, Edit::Insert { after }) => {
                    elements.insert(at + usize::from(after), new.clone());
                }
                (None, true, Edit::Set { create: false }) | (None, false, _) => {}
                (None, true, _) if index < 0 => elements.insert(0, new.clone()),
                (None, true, _) => elements.push(new.clone()),
            }
        }
        _ => {}
    }
    Ok(())
}

fn edited(call: &Call<'_>, how: impl Fn(bool) -> Edit, default: bool) -> Outcome {
    let (values, news) = (call.texts(0), call.texts(2));
    let flags = (call.count() > 3).then(|| call.booleans(3));
    call.text(|row, out| {
        let mut value = parsed(values.get(row))?;
        let flag = flags
            .as_ref()
            .map_or(default, |(argument, values)| values.value(argument.at(row)));
        let path: Vec<String> = call.text_list(1, row).into_iter().flatten().collect();
        edit(&mut value, &path, &parsed(news.get(row))?, how(flag))?;
        put(&value, out)
    })
}

fn set(call: &Call<'_>) -> Outcome {
    edited(call, |create| Edit::Set { create }, true)
}

fn insert(call: &Call<'_>) -> Outcome {
    edited(call, |after| Edit::Insert { after }, false)
}

/// A text that orders and equals as the `jsonb` does.
fn key(call: &Call<'_>) -> Outcome {
    fn write(value: &Value, out: &mut String) {
        match value {
            Value::Number(text) => {
                // equal numbers have one text: no zeros at the end
                let trimmed = if text.contains('.') {
                    text.trim_end_matches('0').trim_end_matches('.')
                } else {
                    text
                };
                out.push_str(trimmed);
            }
            Value::Array(elements) => {
                out.push('[');
                for element in elements {
                    write(element, out);
                    out.push(',');
                }
                out.push(']');
            }
            Value::Object(members) => {
                out.push('{');
                for (name, member) in members {
                    json::quote(name, out);
                    out.push(':');
                    write(member, out);
                    out.push(',');
                }
                out.push('}');
            }
            scalar => out.push_str(&scalar.to_json()),
        }
    }
    let values = call.texts(0);
    call.text(|row, out| {
        write(&parsed(values.get(row))?, out);
        Ok(true)
    })
}

fn key_field(_: &[FieldRef]) -> Result<Field, FederationError> {
    Ok(Field::new("", arrow::datatypes::DataType::Utf8, true))
}

pub(super) fn functions() -> Vec<Function> {
    const RESULT: Returns = Returns::Type(&types::JSONB);
    vec![
        function(
            "lakegate_jsonb_concat",
            [overload(&[JSONB, JSONB], RESULT, concat)],
        )
        .shown("||"),
        function(
            "lakegate_jsonb_delete",
            [
                overload(&[JSONB, TEXT], RESULT, delete_key),
                overload(&[JSONB, TEXTS], RESULT, delete_keys),
                overload(&[JSONB, INT4], RESULT, delete_index),
            ],
        )
        .shown("-"),
        function(
            "lakegate_jsonb_delete_path",
            [overload(&[JSONB, TEXTS], RESULT, delete_path)],
        )
        .shown("#-"),
        function(
            "jsonb_set",
            [
                overload(&[JSONB, TEXTS, JSONB], RESULT, set),
                overload(&[JSONB, TEXTS, JSONB, BOOL], RESULT, set),
            ],
        ),
        function(
            "jsonb_insert",
            [
                overload(&[JSONB, TEXTS, JSONB], RESULT, insert),
                overload(&[JSONB, TEXTS, JSONB, BOOL], RESULT, insert),
            ],
        ),
        function(
            "lakegate_jsonb_key",
            [overload(&[JSONB], Returns::From(key_field), key)],
        )
        .shown("jsonb"),
    ]
}
