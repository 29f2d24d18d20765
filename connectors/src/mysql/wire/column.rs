//! What the server says about a column of a result.

use super::Reader;

/// The wire types of the protocol, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mysql) enum ColumnType {
    Tiny,
    Short,
    Int24,
    Long,
    LongLong,
    Float,
    Double,
    NewDecimal,
    Year,
    Date,
    Time,
    DateTime,
    Timestamp,
    Bit,
    /// CHAR, BINARY, ENUM, SET, VARCHAR, VARBINARY, BLOB, TEXT, and JSON: bytes
    /// after their length.
    Bytes,
    Json,
    Geometry,
    Other(u8),
}

impl ColumnType {
    fn of(code: u8) -> Self {
        match code {
            1 => Self::Tiny,
            2 => Self::Short,
            3 => Self::Long,
            4 => Self::Float,
            5 => Self::Double,
            7 => Self::Timestamp,
            8 => Self::LongLong,
            9 => Self::Int24,
            10 => Self::Date,
            11 => Self::Time,
            12 => Self::DateTime,
            13 => Self::Year,
            15 | 247..=254 => Self::Bytes,
            16 => Self::Bit,
            245 => Self::Json,
            246 => Self::NewDecimal,
            255 => Self::Geometry,
            other => Self::Other(other),
        }
    }
}

/// One column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::mysql) struct ColumnDefinition {
    pub name: String,
    pub kind: ColumnType,
    pub unsigned: bool,
    /// Bytes without a character set.
    pub binary: bool,
    /// Digits after the point, of a decimal.
    pub decimals: u8,
}

/// The number of the character set `binary`.
const BINARY: u16 = 63;
const UNSIGNED: u16 = 1 << 5;

impl ColumnDefinition {
    /// Layout: catalog, schema, table, original table, name, original name, each
    /// after its length; the length of the rest (12); u16 character set, u32
    /// length, u8 type, u16 flags, u8 decimals, two bytes filler.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(packet);
        for _ in 0..4 {
            reader.counted()?;
        }
        let name = String::from_utf8_lossy(reader.counted()?).into_owned();
        reader.counted()?;
        reader.length()?;
        let character_set = reader.u16()?;
        reader.u32()?;
        let kind = ColumnType::of(reader.u8()?);
        let flags = reader.u16()?;
        Some(Self {
            name,
            kind,
            unsigned: flags & UNSIGNED != 0,
            binary: character_set == BINARY,
            decimals: reader.u8()?,
        })
    }
}
