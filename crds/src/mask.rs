//! How a column's values are hidden. A mask is applied before anything is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Duration, ExportSpec, SecretKeyReference};

/// How a column's values are hidden. Exactly one method.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.drop), has(self.__null__), has(self.constant), has(self.redact), has(self.hmac), has(self.partial), has(self.email), has(self.phone), has(self.round), has(self.bucket), has(self.truncate), has(self.dateShift), has(self.noise), has(self.tokenize), has(self.ipPrefix), has(self.regexReplace), has(self.jsonPath)].filter(it, it).size() == 1",
    "message": "set exactly one mask method: drop, null, constant, redact, hmac, partial, email, phone, round, bucket, truncate, dateShift, noise, tokenize, ipPrefix, regexReplace or jsonPath",
}]))]
pub struct MaskSpec {
    /// Leaves the column out; it is never read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop: Option<EmptyMask>,

    /// Replaces every value with null.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null: Option<EmptyMask>,

    /// Replaces every value with one text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constant: Option<ConstantMask>,

    /// Replaces every value with `****`, keeping nothing but whether there was one and whether it
    /// was empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redact: Option<EmptyMask>,

    /// Keyed hash, HMAC-SHA-256 in hexadecimal: equal values stay equal, nobody without the key
    /// can guess them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hmac: Option<HmacMask>,

    /// Keeps the first and last characters and replaces the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<PartialMask>,

    /// Keeps the domain of an e-mail address and hides the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailMask>,

    /// Keeps the country code and the last digits of a phone number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<PhoneMask>,

    /// Rounds a number, half away from zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<RoundMask>,

    /// Replaces a number with the range it lies in, as text such as `[20,30)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketMask>,

    /// Cuts a time to a unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncate: Option<TruncateMask>,

    /// Shifts a date or timestamp by a number of days that is the same for all rows of one entity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_shift: Option<DateShiftMask>,

    /// Adds noise to a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<NoiseMask>,

    /// Encrypts the value so that who holds the key can read it back (AES-SIV); equal values stay
    /// equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenize: Option<TokenizeMask>,

    /// Keeps the network part of an IP address, such as `192.0.2.0/24`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_prefix: Option<IpPrefixMask>,

    /// Replaces what matches a regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex_replace: Option<RegexReplaceMask>,

    /// Masks parts of a JSON value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_path: Option<JsonPathMask>,
}

/// A method without options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmptyMask {}

/// One text for every value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConstantMask {
    /// The text; null stays null.
    #[schemars(length(max = 1024))]
    pub value: String,
}

impl MaskSpec {
    /// The method that is set, by the name of its field.
    pub fn method(&self) -> Option<&'static str> {
        [
            ("drop", self.drop.is_some()),
            ("null", self.null.is_some()),
            ("constant", self.constant.is_some()),
            ("redact", self.redact.is_some()),
            ("hmac", self.hmac.is_some()),
            ("partial", self.partial.is_some()),
            ("email", self.email.is_some()),
            ("phone", self.phone.is_some()),
            ("round", self.round.is_some()),
            ("bucket", self.bucket.is_some()),
            ("truncate", self.truncate.is_some()),
            ("dateShift", self.date_shift.is_some()),
            ("noise", self.noise.is_some()),
            ("tokenize", self.tokenize.is_some()),
            ("ipPrefix", self.ip_prefix.is_some()),
            ("regexReplace", self.regex_replace.is_some()),
            ("jsonPath", self.json_path.is_some()),
        ]
        .into_iter()
        .find_map(|(name, set)| set.then_some(name))
    }

    /// The key of a Secret that the method needs.
    pub fn key_ref(&self) -> Option<&SecretKeyReference> {
        let hmac = self.hmac.as_ref().map(|it| &it.key_ref);
        let date_shift = self.date_shift.as_ref().map(|it| &it.key_ref);
        let noise = self.noise.as_ref().map(|it| &it.key_ref);
        let tokenize = self.tokenize.as_ref().map(|it| &it.key_ref);
        hmac.or(date_shift).or(noise).or(tokenize)
    }
}

/// One use of a key by a mask of an Export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskKeyUse<'a> {
    /// The reference's place, such as `spec.columns[2].mask.hmac.keyRef`.
    pub field: String,
    /// The mask's method.
    pub method: &'static str,
    /// The key.
    pub reference: &'a SecretKeyReference,
}

impl ExportSpec {
    /// The keys that the masks of the columns need, in the columns' order.
    pub fn mask_keys(&self) -> Vec<MaskKeyUse<'_>> {
        let columns = self.columns.iter().flatten().enumerate();
        columns
            .filter_map(|(index, column)| {
                let mask = column.mask.as_deref()?;
                let (method, reference) = (mask.method()?, mask.key_ref()?);
                Some(MaskKeyUse {
                    field: format!("spec.columns[{index}].mask.{method}.keyRef"),
                    method,
                    reference,
                })
            })
            .collect()
    }
}

/// Keyed hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HmacMask {
    /// Secret key that holds the hash key, of at least 16 bytes.
    pub key_ref: SecretKeyReference,

    /// Values of columns with the same domain hash alike, so that they can be joined.
    /// Default: `catalog.schema.table.column`.
    #[schemars(length(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

/// Keeps the ends of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.keepFirst) || has(self.keepLast)",
    "message": "set keepFirst, keepLast or both; to keep nothing use redact",
}]))]
pub struct PartialMask {
    /// Characters kept at the start. Default: 0.
    #[schemars(range(min = 0, max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_first: Option<u32>,

    /// Characters kept at the end. Default: 0.
    #[schemars(range(min = 0, max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u32>,

    /// Character that stands for each hidden one. Default: `*`.
    #[schemars(length(min = 1, max = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
}

/// Keeps the domain of an e-mail address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmailMask {
    /// Characters of the local part that are kept. Default: 0.
    #[schemars(range(min = 0, max = 16))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_first: Option<u32>,
}

/// Keeps the country code and the last digits of a phone number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PhoneMask {
    /// Last digits that are kept. Default: 4.
    #[schemars(range(min = 0, max = 8))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u32>,
}

/// Rounds a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoundMask {
    /// Digits after the point; negative rounds to tens (-1), hundreds (-2) and so on.
    #[schemars(range(min = -18, max = 18))]
    pub digits: i32,
}

/// Replaces a number with the range it lies in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.width) != has(self.bounds)",
    "message": "set exactly one of width and bounds",
}]))]
pub struct BucketMask {
    /// Width of equal ranges that start at 0.
    #[schemars(range(min = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<i64>,

    /// Lower bounds of the ranges, rising.
    #[schemars(length(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounds: Option<Vec<i64>>,
}

/// Cuts a time to a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TruncateMask {
    /// Unit that is kept: Year, Quarter, Month, Week, Day or Hour.
    pub to: TruncateUnit,
}

/// Units of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum TruncateUnit {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    Hour,
}

/// Shifts a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DateShiftMask {
    /// Column of the source whose value decides the shift, so that the times of one entity keep
    /// their distances; it need not be exported. Where it is null the time becomes null.
    #[schemars(length(min = 1, max = 128))]
    pub by: String,

    /// Largest shift in either direction, in whole days, such as `30d`.
    pub within: Duration,

    /// Secret key from which shifts are derived.
    pub key_ref: SecretKeyReference,
}

/// Adds noise to a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NoiseMask {
    /// Largest change in either direction, in percent of the value.
    #[schemars(range(min = 1, max = 100))]
    pub percent: u32,

    /// Secret key from which the noise is derived: the same value gets the same noise.
    pub key_ref: SecretKeyReference,
}

/// Reversible token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenizeMask {
    /// Secret key that holds 64 bytes of key, such as `hex:` and 128 digits.
    pub key_ref: SecretKeyReference,

    /// Values of columns with the same domain give the same token. Default:
    /// `catalog.schema.table.column`.
    #[schemars(length(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

/// Keeps the network part of an IP address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IpPrefixMask {
    /// Bits kept of an IPv4 address. Default: 24.
    #[schemars(range(min = 0, max = 32))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v4: Option<u32>,

    /// Bits kept of an IPv6 address. Default: 48.
    #[schemars(range(min = 0, max = 128))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub v6: Option<u32>,
}

/// Replaces what matches a regular expression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegexReplaceMask {
    /// The regular expression. A value that it does not match becomes null.
    #[schemars(length(min = 1, max = 1024))]
    pub pattern: String,

    /// What stands in place of each match; `$1` is the first group.
    #[schemars(length(max = 1024))]
    pub with: String,
}

/// Masks parts of a JSON value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JsonPathMask {
    /// Paths to keep, such as `$.order.id`; everything else is removed.
    #[schemars(length(min = 1, max = 128), inner(length(min = 1, max = 512)))]
    pub keep: Vec<String>,
}
