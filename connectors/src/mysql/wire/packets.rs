//! Packets in a stream of bytes.
//!
//! A packet is cut into parts of at most 2^24-1 bytes; each has a header of a
//! 24-bit length and a sequence number. A part of exactly that size is followed
//! by another one.

use bytes::{Buf, Bytes, BytesMut};

use super::WireError;

/// A row larger than this is refused before it is received: two values of the
/// largest allowed size.
pub(in crate::mysql) const MAX_ROW_BYTES: usize = 128 * 1024 * 1024;

const MAX_PART: usize = 0xFF_FF_FF;
const HEADER: usize = 4;
/// What is asked of the operating system at once.
const READ_BYTES: usize = 64 * 1024;

/// Takes packets apart and puts them together.
#[derive(Debug, Default)]
pub(super) struct Packets {
    received: BytesMut,
    /// The parts so far of a packet that has more.
    parts: BytesMut,
    /// The number of the next part, whoever sends it.
    sequence: u8,
}

impl Packets {
    /// Both sides count anew from each command.
    pub(super) fn restart(&mut self) {
        self.sequence = 0;
    }

    /// Nothing has been received that was not asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.received.is_empty() && self.parts.is_empty()
    }

    /// Where the next bytes of the stream go.
    pub(super) fn space(&mut self) -> &mut BytesMut {
        let missing = self.received.first_chunk::<HEADER>().map_or(0, |header| {
            (part_length(*header) + HEADER).saturating_sub(self.received.len())
        });
        self.received.reserve(missing.max(READ_BYTES));
        &mut self.received
    }

    /// The next whole packet; none if it has not all been received.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, WireError> {
        loop {
            let Some(header) = self.received.first_chunk::<HEADER>() else {
                return Ok(None);
            };
            let length = part_length(*header);
            let [_, _, _, sequence] = *header;
            let bytes = self.parts.len() + length;
            if bytes > MAX_ROW_BYTES {
                return Err(WireError::TooLarge { bytes });
            }
            if self.received.len() < HEADER + length {
                return Ok(None);
            }
            if sequence != self.sequence {
                return Err(WireError::Protocol("packets are out of order"));
            }
            self.sequence = sequence.wrapping_add(1);
            self.received.advance(HEADER);
            let part = self.received.split_to(length);
            if length == MAX_PART {
                self.parts.extend_from_slice(&part);
            } else if self.parts.is_empty() {
                return Ok(Some(part.freeze()));
            } else {
                self.parts.extend_from_slice(&part);
                return Ok(Some(std::mem::take(&mut self.parts).freeze()));
            }
        }
    }

    /// A packet to be sent, with its header.
    pub(super) fn frame(&mut self, payload: &[u8]) -> Result<Vec<u8>, WireError> {
        // No statement of ours comes near it.
        if payload.len() >= MAX_PART {
            return Err(WireError::Protocol("the statement is too long for one packet"));
        }
        let mut framed = Vec::with_capacity(HEADER + payload.len());
        let [a, b, c, _] = (payload.len() as u32).to_le_bytes();
        framed.extend([a, b, c, self.sequence]);
        framed.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        Ok(framed)
    }
}

fn part_length([a, b, c, _]: [u8; HEADER]) -> usize {
    u32::from_le_bytes([a, b, c, 0]) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(sequence: u8, body: &[u8]) -> Vec<u8> {
        let [a, b, c, _] = (body.len() as u32).to_le_bytes();
        let mut bytes = vec![a, b, c, sequence];
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn a_packet_of_several_parts() {
        let mut packets = Packets::default();
        let long = vec![7; MAX_PART];
        packets.space().extend_from_slice(&part(0, &long));
        assert!(packets.next().unwrap().is_none());
        packets.space().extend_from_slice(&part(1, b"end"));
        assert_eq!(packets.next().unwrap().unwrap().len(), MAX_PART + 3);
        // A length that is a multiple of the limit ends with an empty part.
        packets.space().extend_from_slice(&part(2, &long));
        packets.space().extend_from_slice(&part(3, b""));
        assert_eq!(packets.next().unwrap().unwrap().len(), MAX_PART);
        assert!(packets.is_empty());
    }

    #[test]
    fn a_huge_row_is_refused_at_its_header() {
        let mut packets = Packets::default();
        for sequence in 0..8 {
            packets
                .space()
                .extend_from_slice(&part(sequence, &vec![0; MAX_PART]));
            assert!(packets.next().unwrap().is_none());
        }
        packets.space().extend_from_slice(&[9, 0, 0, 8]);
        assert!(matches!(packets.next(), Err(WireError::TooLarge { .. })));
    }

    #[test]
    fn order_is_checked() {
        let mut packets = Packets::default();
        packets.space().extend_from_slice(&part(1, b"x"));
        assert!(matches!(packets.next(), Err(WireError::Protocol(_))));
    }

    proptest! {
        /// However the stream is cut, the packets are the same.
        #[test]
        fn chunks_do_not_matter(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..20),
            cuts in proptest::collection::vec(1_usize..9, 0..100),
        ) {
            let bytes: Vec<u8> = bodies
                .iter()
                .enumerate()
                .flat_map(|(sequence, body)| part(sequence as u8, body))
                .collect();
            let mut packets = Packets::default();
            let mut rest = bytes.as_slice();
            let mut cuts = cuts.into_iter();
            let mut seen = Vec::new();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts.next().unwrap_or(rest.len()).min(rest.len()));
                packets.space().extend_from_slice(now);
                while let Some(packet) = packets.next().unwrap() {
                    seen.push(packet.to_vec());
                }
                rest = later;
            }
            prop_assert_eq!(seen, bodies);
        }
    }
}
