//! CSV: the dialect, and the first record, which names the columns.

use lakegate_crds::CsvOptions;

/// How a CSV file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvDialect {
    pub header: bool,
    /// None: a comma, or a tab in a `.tsv` file.
    pub delimiter: Option<u8>,
    pub quote: u8,
    pub escape: Option<u8>,
    /// Text that stands for NULL.
    pub null: String,
}

impl Default for CsvDialect {
    fn default() -> Self {
        Self {
            header: true,
            delimiter: None,
            quote: b'"',
            escape: None,
            null: String::new(),
        }
    }
}

impl CsvDialect {
    /// # Errors
    /// The field, and what is wrong with it.
    pub fn new(options: &CsvOptions) -> Result<Self, (&'static str, String)> {
        let byte = |field: &'static str, text: &Option<String>| match text.as_deref().map(str::as_bytes) {
            None => Ok(None),
            Some([byte]) if !matches!(byte, b'\n' | b'\r') => Ok(Some(*byte)),
            Some(_) => Err((field, "must be one ASCII character".to_owned())),
        };
        let defaults = Self::default();
        let dialect = Self {
            header: options.header.unwrap_or(defaults.header),
            delimiter: byte("csv.delimiter", &options.delimiter)?,
            quote: byte("csv.quote", &options.quote)?.unwrap_or(defaults.quote),
            escape: byte("csv.escape", &options.escape)?,
            null: options.null_value.clone().unwrap_or_default(),
        };
        if dialect.delimiter == Some(dialect.quote) {
            return Err(("csv.quote", "must differ from csv.delimiter".to_owned()));
        }
        Ok(dialect)
    }

    pub fn delimiter(&self, tabs: bool) -> u8 {
        self.delimiter.unwrap_or(if tabs { b'\t' } else { b',' })
    }

    /// The value of a field; empty fields come as None from the parser. In a
    /// column that is not text an empty field is always NULL.
    pub fn value<'a>(&self, field: Option<&'a str>, text_column: bool) -> Option<&'a str> {
        let field = field.unwrap_or("");
        if field == self.null || (field.is_empty() && !text_column) {
            None
        } else {
            Some(field)
        }
    }

    /// The fields of the first record; None while its end has not been seen.
    /// Reads the same as the parser of all other records (csv-core).
    pub fn first_record(&self, bytes: &[u8], delimiter: u8, at_end: bool) -> Option<Vec<String>> {
        let mut fields = Vec::new();
        let mut field = Vec::new();
        let start = bytes.iter().position(|byte| !matches!(byte, b'\n' | b'\r'))?;
        let mut quoted = false;
        let mut at = start;
        // Whether a quote here would open a quoted field.
        let mut fresh = true;
        while at < bytes.len() {
            let byte = bytes[at];
            at += 1;
            if quoted {
                if Some(byte) == self.escape {
                    field.push(*bytes.get(at)?);
                    at += 1;
                } else if byte == self.quote {
                    if bytes.get(at) == Some(&self.quote) {
                        field.push(self.quote);
                        at += 1;
                    } else {
                        quoted = false;
                    }
                } else {
                    field.push(byte);
                }
            } else if byte == self.quote && fresh {
                quoted = true;
                fresh = false;
            } else if byte == delimiter {
                fields.push(String::from_utf8_lossy(&field).into_owned());
                field.clear();
                fresh = true;
            } else if matches!(byte, b'\n' | b'\r') {
                fields.push(String::from_utf8_lossy(&field).into_owned());
                return Some(fields);
            } else {
                field.push(byte);
                fresh = false;
            }
        }
        at_end.then(|| {
            fields.push(String::from_utf8_lossy(&field).into_owned());
            fields
        })
    }

    /// Column names of a record: those of the header, blank and repeated ones
    /// replaced, or `column_1` and so on.
    pub fn names(&self, record: &[String]) -> Vec<String> {
        let mut names: Vec<String> = Vec::with_capacity(record.len());
        for (position, field) in record.iter().enumerate() {
            let wanted = if self.header && !field.trim().is_empty() {
                field.trim().to_owned()
            } else {
                format!("column_{}", position + 1)
            };
            let mut name = wanted.clone();
            let mut number = 2;
            while names.contains(&name) {
                name = format!("{wanted}_{number}");
                number += 1;
            }
            names.push(name);
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_records() {
        let dialect = CsvDialect::default();
        let cases: [(&str, &[&str]); 8] = [
            ("a,b\n1,2", &["a", "b"]),
            ("\r\na,b\r\n", &["a", "b"]),
            ("a", &["a"]),
            ("\"a,x\",\"b\"\"c\"\n", &["a,x", "b\"c"]),
            ("\"a\nb\",c\n", &["a\nb", "c"]),
            ("a\"b,c\n", &["a\"b", "c"]),
            ("a,\n", &["a", ""]),
            ("\"\"\n", &[""]),
        ];
        for (text, expected) in cases {
            assert_eq!(
                dialect.first_record(text.as_bytes(), b',', true).unwrap(),
                expected,
                "{text:?}"
            );
        }
        assert_eq!(dialect.first_record(b"a,b", b',', false), None);
        assert_eq!(dialect.first_record(b"\"a\n", b',', false), None);
        assert_eq!(dialect.first_record(b"", b',', true), None);
    }

    #[test]
    fn names_are_unique() {
        let dialect = CsvDialect::default();
        let record = ["a", "", " a ", "a_2"].map(str::to_owned);
        assert_eq!(dialect.names(&record), ["a", "column_2", "a_2", "a_2_2"]);
    }

    #[test]
    fn options_are_checked() {
        let wide = CsvOptions {
            delimiter: Some("é".to_owned()),
            ..CsvOptions::default()
        };
        assert_eq!(CsvDialect::new(&wide).unwrap_err().0, "csv.delimiter");
        let same = CsvOptions {
            delimiter: Some("\"".to_owned()),
            ..CsvOptions::default()
        };
        assert_eq!(CsvDialect::new(&same).unwrap_err().0, "csv.quote");
    }
}
