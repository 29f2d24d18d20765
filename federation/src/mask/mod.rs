//! Masks: how a column's values are hidden. Each method is a function of a column, whoever applies it.
//!
//! `docs/masking.md` says what each method makes of which type, with examples that a test reads. Common to all:
//!
//! * NULL stays NULL and no method makes an empty text of one that is not, or NULL of an empty one.
//! * A method that cannot take a column's type is refused when it is planned. What it cannot read in a single value
//!   (an address that is none, a JSON text that is broken) becomes NULL: it fails closed, and no error shows a value.
//! * A result follows from the value, the options and the key alone, so that equal values stay equal where a method
//!   says so.

mod canonical;
mod distinct;
mod function;
mod json;
mod key;
mod keyed;
mod number;
mod personal;
mod text;
mod time;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field};
use lakegate_crds::MaskSpec;

pub(crate) use self::function::{mask, null_of};
pub use self::key::{MaskKey, MaskKeyError, MaskKeys, WrongKey, detokenize};
pub use self::personal::{Personal, PersonalColumn, PersonalColumns};

use self::canonical::{Class, class_of, texts_of};
use self::distinct::TextMask;
use self::keyed::{Hash, Tokens};
use self::number::{Buckets, Noise};
use self::time::{Shift, Unit};
use crate::cast;
use crate::error::FederationError;

/// What stands for a text that is hidden as a whole.
const HIDDEN: &str = "****";

/// How the domains begin in which other methods than `hmac` and `tokenize` hash.
const RESERVED: &str = "lakegate ";

/// Why a mask cannot be applied to a column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct MaskRefusal {
    /// Below the column's `mask`, such as `round.digits`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl MaskRefusal {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
        }
    }
}

enum Method {
    Null,
    Constant(String),
    Text(Box<dyn TextMask>),
    Hmac(Hash),
    Tokenize(Tokens),
    Round(i32),
    Bucket(Buckets),
    Noise(Noise),
    Truncate(Unit),
    DateShift(Shift),
}

/// A method, ready for columns of one type.
pub struct Mask {
    name: &'static str,
    method: Method,
    input: Field,
    output: DataType,
    entity: Option<String>,
}

// What it is made of may be a key.
impl fmt::Debug for Mask {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Mask")
            .field("method", &self.name)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

impl Mask {
    /// The mask of a column of the type of `input`. Values of columns with the same `domain`, where the method has one
    /// and the spec sets none, are masked alike.
    ///
    /// `drop` is no function of a column: whoever plans leaves the column out.
    ///
    /// # Errors
    /// A type that the method cannot take, options that hide nothing, and a key that is not among `keys`.
    pub fn new(spec: &MaskSpec, input: &Field, keys: &MaskKeys, domain: &str) -> Result<Self, MaskRefusal> {
        let name = spec
            .method()
            .ok_or_else(|| MaskRefusal::new("", "set exactly one method"))?;
        let class = class_of(input);
        let wrong_type = |takes: &str, remedy: &str| {
            Err(MaskRefusal::new(
                name,
                format!("it takes {takes}, and the column is {}; {remedy}", class.name()),
            ))
        };
        let as_text = "set cast: text, or use another method";
        let key = |reference| {
            keys.get(reference).ok_or_else(|| {
                MaskRefusal::new(
                    format!("{name}.keyRef"),
                    "its key was not loaded; this is a fault of Lakegate",
                )
            })
        };
        let only_text = |method: Box<dyn TextMask>| match class {
            Class::Text => Ok((Method::Text(method), DataType::Utf8)),
            _ => wrong_type("text", as_text),
        };
        let only_scalars = |method| match class {
            Class::Nested => wrong_type("single values", as_text),
            _ => Ok((method, DataType::Utf8)),
        };
        let same = cast::canonical(input.data_type());
        let only_numbers = |method| match class {
            Class::Integer | Class::Decimal | Class::Float => Ok((method, same.clone())),
            _ => wrong_type("numbers", "cast the column to a number, or use another method"),
        };
        let only_days = |method| match class {
            Class::Date | Class::Timestamp => Ok((method, same.clone())),
            _ => wrong_type(
                "dates and timestamps",
                "cast the column to one, or use another method",
            ),
        };
        let domain = |own: Option<&String>| match own {
            Some(own) if own.starts_with(RESERVED) => Err(MaskRefusal::new(
                format!("{name}.domain"),
                format!("domains that begin with \"{RESERVED}\" are Lakegate's own; name another"),
            )),
            Some(own) => Ok(own.clone()),
            None => Ok(domain.to_owned()),
        };
        let mut entity = None;
        let (method, output) = if spec.drop.is_some() {
            return Err(MaskRefusal::new(
                name,
                "a dropped column has no values to mask; this is a fault of Lakegate",
            ));
        } else if spec.null.is_some() {
            (Method::Null, input.data_type().clone())
        } else if let Some(constant) = &spec.constant {
            (Method::Constant(constant.value.clone()), DataType::Utf8)
        } else if spec.redact.is_some() {
            match class {
                Class::Text => (Method::Text(Box::new(text::redact())), DataType::Utf8),
                // such values are not empty, and what they are is not looked at
                _ => (Method::Constant(HIDDEN.to_owned()), DataType::Utf8),
            }
        } else if let Some(spec) = &spec.hmac {
            let domain = domain(spec.domain.as_ref())?;
            only_scalars(Method::Hmac(Hash::new(key(&spec.key_ref)?, &domain)))?
        } else if let Some(spec) = &spec.tokenize {
            let domain = domain(spec.domain.as_ref())?;
            only_scalars(Method::Tokenize(Tokens::new(
                Arc::clone(key(&spec.key_ref)?),
                domain,
            )))?
        } else if let Some(spec) = &spec.partial {
            only_text(Box::new(text::partial(spec)?))?
        } else if let Some(spec) = &spec.email {
            only_text(Box::new(text::email(spec)))?
        } else if let Some(spec) = &spec.phone {
            only_text(Box::new(text::phone(spec)))?
        } else if let Some(spec) = &spec.ip_prefix {
            only_text(Box::new(text::ip_prefix(spec)))?
        } else if let Some(spec) = &spec.regex_replace {
            only_text(Box::new(text::regex_replace(spec)?))?
        } else if let Some(spec) = &spec.json_path {
            only_text(Box::new(json::keep_paths(spec)?))?
        } else if let Some(spec) = &spec.round {
            let scale = match &same {
                DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => Some(i32::from(*scale)),
                _ if class == Class::Integer => Some(0),
                _ => None,
            };
            if let Some(scale) = scale
                && spec.digits >= scale
            {
                return Err(MaskRefusal::new(
                    "round.digits",
                    format!(
                        "the column has {scale} digits after the point, so nothing would be rounded; set fewer"
                    ),
                ));
            }
            only_numbers(Method::Round(spec.digits))?
        } else if let Some(spec) = &spec.bucket {
            let (method, _) = only_numbers(Method::Bucket(Buckets::new(spec)?))?;
            (method, DataType::Utf8)
        } else if let Some(spec) = &spec.noise {
            only_numbers(Method::Noise(Noise::new(key(&spec.key_ref)?, spec.percent)))?
        } else if let Some(spec) = &spec.truncate {
            let unit = Unit::from(spec.to);
            if class == Class::Date && !unit.is_longer_than_a_day() {
                return Err(MaskRefusal::new(
                    "truncate.to",
                    "a date has nothing below a day, so nothing would be cut; set Week or longer",
                ));
            }
            only_days(Method::Truncate(unit))?
        } else if let Some(spec) = &spec.date_shift {
            entity = Some(spec.by.clone());
            only_days(Method::DateShift(Shift::new(key(&spec.key_ref)?, &spec.within)?))?
        } else {
            return Err(MaskRefusal::new(name, "this version does not know the method"));
        };
        Ok(Self {
            name,
            method,
            input: input.clone(),
            output,
            entity,
        })
    }

    /// The method's name in a manifest.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The column whose values decide with the masked ones, of `dateShift`.
    pub fn entity(&self) -> Option<&str> {
        self.entity.as_deref()
    }

    /// The masked column, under its old name.
    pub fn output(&self) -> Field {
        let metadata = if self.keeps_type() {
            self.input.metadata().clone()
        } else {
            std::collections::HashMap::new()
        };
        Field::new(self.input.name(), self.output.clone(), true).with_metadata(metadata)
    }

    /// A masked JSON is one; other texts are no longer what they were (`varchar(20)`, `uuid`).
    fn keeps_type(&self) -> bool {
        match self.method {
            Method::Text(_) => self.name == "jsonPath",
            Method::Constant(_) | Method::Hmac(_) | Method::Tokenize(_) | Method::Bucket(_) => false,
            _ => true,
        }
    }

    /// Masks a column. `entity` holds the values of [`Self::entity`], of as many rows, with their field.
    ///
    /// # Errors
    /// A date that cannot be shifted within its type, and texts of more bytes than a column holds. No message has a
    /// value in it.
    pub fn apply(
        &self,
        column: &ArrayRef,
        entity: Option<(&Field, &ArrayRef)>,
    ) -> Result<ArrayRef, FederationError> {
        if let Method::Null = self.method {
            return Ok(new_null_array(&self.output, column.len()));
        }
        if column.data_type().is_null() {
            return Ok(new_null_array(&self.output, column.len()));
        }
        // each value of a dictionary once, however many rows have it
        if entity.is_none()
            && let Some(dictionary) = column.as_any_dictionary_opt()
        {
            let masked = self.apply(dictionary.values(), None)?;
            return Ok(arrow::compute::take(masked.as_ref(), dictionary.keys(), None)?);
        }
        let texts = |mask: &dyn TextMask| {
            let clear = texts_of(column, &self.input)?;
            distinct::masked(&clear, mask).map(|masked| Arc::new(masked) as ArrayRef)
        };
        match &self.method {
            Method::Null => Ok(new_null_array(&self.output, column.len())),
            Method::Constant(text) => {
                let nulls = column.logical_nulls();
                let masked: StringArray = (0..column.len())
                    .map(|row| {
                        let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
                        (!is_null).then_some(text.as_str())
                    })
                    .collect();
                Ok(Arc::new(masked))
            }
            Method::Text(mask) => texts(mask.as_ref()),
            Method::Hmac(hash) => texts(hash),
            Method::Tokenize(tokens) => texts(tokens),
            Method::Round(digits) => number::round(&cast::normalize(column)?, *digits),
            Method::Bucket(buckets) => buckets.apply(&cast::normalize(column)?),
            Method::Noise(noise) => noise.apply(&cast::normalize(column)?, &texts_of(column, &self.input)?),
            Method::Truncate(unit) => time::truncate(&cast::normalize(column)?, *unit),
            Method::DateShift(shift) => {
                let (field, entity) = entity
                    .ok_or_else(|| FederationError::internal("dateShift without the column it shifts by"))?;
                shift.apply(&cast::normalize(column)?, &texts_of(entity, field)?)
            }
        }
    }
}
