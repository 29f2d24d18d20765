//! Which columns look as if they held personal data: by their names, and by a sample of their values.
//!
//! A hint for people, not a proof: what it does not find may be personal, and what it finds may not be. No value is kept.

use std::net::IpAddr;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Field, SchemaRef};

use super::canonical::{Class, class_of, texts_of};
use crate::error::FederationError;

/// Rows whose values are looked at.
const SAMPLE_ROWS: usize = 1000;

/// What a column may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Personal {
    Email,
    Phone,
    /// Passport, social security, tax and other numbers that a state gives a person.
    Identity,
    Birth,
    Address,
    Name,
    Network,
    /// Card and account numbers.
    Account,
}

impl Personal {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "e-mail addresses",
            Self::Phone => "phone numbers",
            Self::Identity => "identity numbers",
            Self::Birth => "dates of birth",
            Self::Address => "addresses",
            Self::Name => "names of people",
            Self::Network => "IP addresses",
            Self::Account => "card or account numbers",
        }
    }
}

/// The words of a name, in small letters: `homeAddress`, `home_address` and `HOME ADDRESS` have two.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut last = None;
    for character in name.chars() {
        if !character.is_alphanumeric() {
            last = None;
            continue;
        }
        let begins = match last {
            None => true,
            Some(last) => char::is_lowercase(last) && character.is_uppercase(),
        };
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(character.to_lowercase());
        }
        last = Some(character);
    }
    words
}

/// What the name of a column says it holds.
fn by_name(name: &str) -> Option<Personal> {
    let words = words(name);
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    let pair = |first: &[&str], second: &[&str]| {
        words
            .windows(2)
            .any(|pair| first.contains(&pair[0].as_str()) && second.contains(&pair[1].as_str()))
    };
    let network = has(&["ip", "ipaddress", "ipaddr", "ipv4", "ipv6"]);
    Some(match () {
        () if has(&["email", "mail", "emails"]) || pair(&["e"], &["mail"]) => Personal::Email,
        () if network || pair(&["remote", "client", "peer"], &["addr"]) => Personal::Network,
        () if has(&[
            "phone",
            "telephone",
            "mobile",
            "cellphone",
            "msisdn",
            "fax",
            "tel",
        ]) =>
        {
            Personal::Phone
        }
        () if has(&["ssn", "passport", "rrn", "nino", "nin"])
            || pair(&["social"], &["security"])
            || pair(&["national", "tax", "citizen"], &["id", "number", "no"])
            || pair(&["driver", "drivers", "driving"], &["license", "licence"]) =>
        {
            Personal::Identity
        }
        () if has(&["birth", "birthday", "birthdate", "dob", "born"]) => Personal::Birth,
        () if has(&[
            "surname",
            "forename",
            "firstname",
            "lastname",
            "fullname",
            "maidenname",
        ]) || pair(
            &["first", "last", "full", "given", "family", "middle", "maiden"],
            &["name"],
        ) =>
        {
            Personal::Name
        }
        () if has(&["iban", "cvv", "cvc"])
            || pair(&["card", "account"], &["number", "no"])
            || pair(&["credit", "debit"], &["card"]) =>
        {
            Personal::Account
        }
        () if has(&["address", "street", "addr"]) && !has(&["mac"]) => Personal::Address,
        () => return None,
    })
}

/// Whether values of the class may be what the name says.
fn may_hold(class: Class, personal: Personal) -> bool {
    match class {
        Class::Text | Class::Nested | Class::Bytes => true,
        Class::Integer | Class::Decimal => matches!(
            personal,
            Personal::Phone | Personal::Identity | Personal::Network | Personal::Account | Personal::Birth
        ),
        Class::Date | Class::Timestamp => personal == Personal::Birth,
        Class::Boolean | Class::Float | Class::Other => false,
    }
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let plain = |text: &str| !text.is_empty() && !text.contains(['@', ' ', '/', ',']);
    plain(local)
        && plain(domain)
        && domain.rsplit_once('.').is_some_and(|(host, top)| {
            !host.is_empty() && top.len() >= 2 && top.chars().all(char::is_alphabetic)
        })
}

/// In the international form alone: digits in groups may be anything.
fn is_phone(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    text.starts_with('+')
        && (8..=15).contains(&digits)
        && text.chars().all(|character| {
            character.is_ascii_digit() || matches!(character, '+' | ' ' | '-' | '.' | '(' | ')')
        })
}

fn is_network(text: &str) -> bool {
    let address = text.split_once('/').map_or(text, |(address, _)| address);
    // `::` and the like are unlikely to be anybody's
    address.len() > 6 && address.parse::<IpAddr>().is_ok()
}

/// Of 13 to 19 digits whose check digit is right (ISO/IEC 7812-1).
fn is_card(text: &str) -> bool {
    let mut sum = 0;
    let mut digits = 0;
    for character in text.chars().rev() {
        let Some(digit) = character.to_digit(10) else {
            if matches!(character, ' ' | '-') {
                continue;
            }
            return false;
        };
        let weighted = if digits % 2 == 1 { digit * 2 } else { digit };
        sum += weighted / 10 + weighted % 10;
        digits += 1;
    }
    (13..=19).contains(&digits) && sum % 10 == 0 && text.starts_with(['2', '3', '4', '5', '6'])
}

/// One column under observation.
#[derive(Debug)]
struct Watched {
    index: usize,
    field: Field,
    named: Option<Personal>,
    values: u32,
    emails: u32,
    phones: u32,
    networks: u32,
    cards: u32,
}

impl Watched {
    fn look_at(&mut self, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        self.values += 1;
        self.emails += u32::from(is_email(text));
        self.phones += u32::from(is_phone(text));
        self.networks += u32::from(is_network(text));
        self.cards += u32::from(is_card(text));
    }

    /// What some of the values are. One number in ten has a right check digit by chance.
    fn by_values(&self) -> Option<Personal> {
        let share = |found: u32, percent: u32, least: u32| {
            found >= least && u64::from(found) * 100 >= u64::from(self.values) * u64::from(percent)
        };
        Some(match () {
            () if share(self.emails, 10, 2) => Personal::Email,
            () if share(self.networks, 50, 2) => Personal::Network,
            () if share(self.cards, 80, 5) => Personal::Account,
            () if share(self.phones, 50, 2) => Personal::Phone,
            () => return None,
        })
    }
}

/// A column that looks personal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalColumn {
    /// As it is exported.
    pub name: String,
    /// What it seems to hold.
    pub holds: Personal,
}

/// Looks at the columns of a result that are shown in the clear.
#[derive(Debug)]
pub struct PersonalColumns {
    watched: Vec<Watched>,
    rows: usize,
}

impl PersonalColumns {
    /// Of a schema the columns that `is_clear` says are to be looked at; `source_name` is what the store calls them.
    pub fn new<'a>(
        schema: &SchemaRef,
        is_clear: impl Fn(usize) -> bool,
        source_name: impl Fn(usize) -> Option<&'a str>,
    ) -> Self {
        let columns = schema.fields().iter().enumerate();
        let watched = columns
            .filter(|(index, _)| is_clear(*index))
            .map(|(index, field)| {
                let class = class_of(field);
                let named = by_name(field.name()).or_else(|| source_name(index).and_then(by_name));
                Watched {
                    index,
                    field: field.as_ref().clone(),
                    named: named.filter(|personal| may_hold(class, *personal)),
                    values: 0,
                    emails: 0,
                    phones: 0,
                    networks: 0,
                    cards: 0,
                }
            })
            .collect();
        Self { watched, rows: 0 }
    }

    /// Looks at rows, until it has seen enough.
    ///
    /// # Errors
    /// A value that cannot be printed.
    pub fn look_at(&mut self, batch: &RecordBatch) -> Result<(), FederationError> {
        let rows = batch.num_rows().min(SAMPLE_ROWS.saturating_sub(self.rows));
        if rows == 0 {
            return Ok(());
        }
        self.rows += rows;
        for watched in self.watched.iter_mut().filter(|watched| watched.named.is_none()) {
            if !matches!(class_of(&watched.field), Class::Text | Class::Integer) {
                continue;
            }
            let Some(column) = batch.columns().get(watched.index) else {
                continue;
            };
            let texts = texts_of(&column.slice(0, rows), &watched.field)?;
            texts.iter().flatten().for_each(|text| watched.look_at(text));
        }
        Ok(())
    }

    /// What has been found, in the order of the columns.
    pub fn found(&self) -> Vec<PersonalColumn> {
        self.watched
            .iter()
            .filter_map(|watched| {
                Some(PersonalColumn {
                    name: watched.field.name().clone(),
                    holds: watched.named.or_else(|| watched.by_values())?,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray};

    use super::*;

    #[test]
    fn names_tell() {
        for (name, expected) in [
            ("email", Some(Personal::Email)),
            ("contact_e-mail", Some(Personal::Email)),
            ("customerEmail", Some(Personal::Email)),
            ("homePhone", Some(Personal::Phone)),
            ("passport_no", Some(Personal::Identity)),
            ("TaxNumber", Some(Personal::Identity)),
            ("date_of_birth", Some(Personal::Birth)),
            ("first_name", Some(Personal::Name)),
            ("SURNAME", Some(Personal::Name)),
            ("client_ip", Some(Personal::Network)),
            ("ip_address", Some(Personal::Network)),
            ("shipping_address", Some(Personal::Address)),
            ("card_number", Some(Personal::Account)),
            ("mac_address", None),
            ("name", None),
            ("product_name", None),
            ("description", None),
            ("zip", None),
            ("shipped", None),
            ("relation", None),
        ] {
            assert_eq!(by_name(name), expected, "{name}");
        }
    }

    #[test]
    fn values_tell_and_types_rule_out() {
        let repeat = |texts: &[&str]| -> ArrayRef {
            Arc::new(
                (0..40)
                    .map(|row| Some(texts[row % texts.len()].to_owned()))
                    .collect::<StringArray>(),
            )
        };
        let verified: ArrayRef = Arc::new(BooleanArray::from(vec![true; 40]));
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(
            4_000_000_000_000_000..4_000_000_000_000_040,
        ));
        let cards: ArrayRef = Arc::new(Int64Array::from(vec![4_111_111_111_111_111; 40]));
        let columns = [
            ("a", repeat(&["ann@example.com", "", "none"])),
            ("b", repeat(&["+82 10-1234-5678", "+1 202 555 0143"])),
            ("c", repeat(&["192.0.2.7", "2001:db8::77"])),
            ("d", repeat(&["4111 1111 1111 1111", "5500-0000-0000-0004"])),
            ("e", repeat(&["x@y", "@handle", "1.2", "call +1", "2026-01-01"])),
            ("email_verified", verified),
            ("ids", ids),
            ("cards", cards),
            ("mail", repeat(&["x"])),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut looking = PersonalColumns::new(&batch.schema(), |_| true, |_| None);
        looking.look_at(&batch).unwrap();
        let found: Vec<(String, Personal)> = looking
            .found()
            .into_iter()
            .map(|column| (column.name, column.holds))
            .collect();
        let expected = [
            ("a", Personal::Email),
            ("b", Personal::Phone),
            ("c", Personal::Network),
            ("d", Personal::Account),
            ("cards", Personal::Account),
            ("mail", Personal::Email),
        ];
        assert_eq!(found, expected.map(|(name, holds)| (name.to_owned(), holds)));
        let masked = PersonalColumns::new(&batch.schema(), |index| index != 8, |_| Some("phone"));
        assert!(masked.found().iter().all(|column| column.name != "mail"));
        assert_eq!(
            masked.found()[0].holds,
            Personal::Phone,
            "the source's name counts"
        );
    }
}
