//! Little-endian fields out of a packet.

/// What is left of a packet. Every method is None where too little is left.
#[derive(Debug, Clone)]
pub(in crate::mysql) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(in crate::mysql) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(in crate::mysql) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::mysql) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(in crate::mysql) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    pub(in crate::mysql) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(in crate::mysql) fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(in crate::mysql) fn u8(&mut self) -> Option<u8> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    pub(in crate::mysql) fn u16(&mut self) -> Option<u16> {
        self.fixed().map(u16::from_le_bytes)
    }

    pub(in crate::mysql) fn u32(&mut self) -> Option<u32> {
        self.fixed().map(u32::from_le_bytes)
    }

    /// A "length-encoded integer": one byte, or a mark and 2, 3 or 8 bytes.
    pub(in crate::mysql) fn length(&mut self) -> Option<u64> {
        match self.u8()? {
            short @ 0..=0xFA => Some(short.into()),
            0xFC => self.u16().map(Into::into),
            0xFD => {
                let [a, b, c] = self.fixed()?;
                Some(u32::from_le_bytes([a, b, c, 0]).into())
            }
            0xFE => self.fixed().map(u64::from_le_bytes),
            _ => None,
        }
    }

    /// Bytes after their length.
    pub(in crate::mysql) fn counted(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.bytes(usize::try_from(length).ok()?)
    }

    /// Bytes before a NUL.
    pub(in crate::mysql) fn terminated(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let taken = self.bytes(end)?;
        self.u8()?;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let cases: [(&[u8], Option<u64>); 8] = [
            (&[0], Some(0)),
            (&[0xFA], Some(250)),
            (&[0xFC, 0xFB, 0], Some(251)),
            (&[0xFD, 0, 0, 1], Some(65_536)),
            (&[0xFE, 0, 0, 0, 1, 0, 0, 0, 0], Some(1 << 24)),
            (&[0xFB], None),
            (&[0xFF], None),
            (&[0xFC, 1], None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Reader::new(bytes).length(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn texts() {
        let mut reader = Reader::new(b"abc\0\x02xyz");
        assert_eq!(reader.terminated(), Some(&b"abc"[..]));
        assert_eq!(reader.counted(), Some(&b"xy"[..]));
        assert_eq!(reader.terminated(), None);
        assert_eq!(reader.rest(), b"z");
    }
}
