use std::sync::Arc;

use super::*;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use proptest::prelude::*;

fn header() -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([0; 8]);
    bytes
}

fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = (values.len() as i16).to_be_bytes().to_vec();
    for value in values {
        match value {
            Some(value) => {
                bytes.extend((value.len() as i32).to_be_bytes());
                bytes.extend(*value);
            }
            None => bytes.extend((-1_i32).to_be_bytes()),
        }
    }
    bytes
}

fn decoder(wires: &[Wire], max_rows: usize) -> CopyDecoder {
    let fields: Vec<Field> = wires
        .iter()
        .enumerate()
        .map(|(index, wire)| Field::new(format!("c{index}"), wire.data_type(), true))
        .collect();
    CopyDecoder::new(Arc::new(Schema::new(fields)), wires, max_rows)
}

/// As one message.
fn message(data: &[u8]) -> Bytes {
    let mut bytes = vec![COPY_DATA];
    bytes.extend((data.len() as i32 + 4).to_be_bytes());
    bytes.extend(data);
    bytes.into()
}

fn fill(decoder: &mut CopyDecoder, data: &[u8]) -> Result<bool, DecodeFailure> {
    decoder.push(message(data));
    decoder.fill()
}

fn text() -> Wire {
    Wire::Text(crate::postgres::types::TextForm::Native(25))
}

#[test]
fn no_columns_still_count_rows() {
    let mut decoder = decoder(&[], 100);
    let mut bytes = header();
    for _ in 0..3 {
        bytes.extend(row(&[]));
    }
    bytes.extend((-1_i16).to_be_bytes());
    fill(&mut decoder, &bytes).unwrap();
    decoder.end().unwrap();
    let batch = decoder.take().unwrap().unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (3, 0));
}

#[test]
fn a_cut_answer_is_an_error() {
    let mut decoder = decoder(&[Wire::Int4], 100);
    let mut bytes = header();
    bytes.extend(row(&[Some(&[0, 0, 0, 1])]));
    fill(&mut decoder, &bytes).unwrap();
    assert!(matches!(decoder.end(), Err(DecodeFailure::Framing(_))));
}

#[test]
fn a_large_value_is_refused_before_it_arrives() {
    let mut decoder = decoder(&[Wire::Bytea], 100);
    let mut bytes = header();
    bytes.extend(1_i16.to_be_bytes());
    bytes.extend((MAX_VALUE_BYTES as i32 + 1).to_be_bytes());
    assert!(matches!(
        fill(&mut decoder, &bytes),
        Err(DecodeFailure::Value {
            column: 0,
            problem: Problem::TooLarge { .. }
        })
    ));
}

#[test]
fn named_values_are_refused() {
    let one_column = |wire: Wire, value: &[u8]| {
        let mut decoder = decoder(&[wire], 10);
        let mut bytes = header();
        bytes.extend(row(&[Some(value)]));
        match fill(&mut decoder, &bytes).and_then(|_| decoder.take()) {
            Err(DecodeFailure::Value { problem, .. }) => Some(problem),
            Ok(_) => None,
            Err(other) => panic!("{other:?}"),
        }
    };
    let infinity = i64::MAX.to_be_bytes();
    let cases: Vec<(Wire, Vec<u8>, Problem)> = vec![
        (Wire::Timestamp, infinity.to_vec(), Problem::Infinity("timestamp")),
        (
            Wire::TimestampTz,
            i64::MIN.to_be_bytes().to_vec(),
            Problem::Infinity("timestamp with time zone"),
        ),
        (
            Wire::Date,
            i32::MAX.to_be_bytes().to_vec(),
            Problem::Infinity("date"),
        ),
        (
            Wire::Timestamp,
            (i64::MAX - 1).to_be_bytes().to_vec(),
            Problem::OutOfRange("timestamp"),
        ),
        (
            Wire::Time,
            86_400_000_000_i64.to_be_bytes().to_vec(),
            Problem::EndOfDay,
        ),
        (Wire::Int4, vec![0; 8], Problem::Malformed("integer")),
        (Wire::Bool, vec![2], Problem::Malformed("boolean")),
        (text(), vec![0xff], Problem::NotUtf8),
    ];
    for (wire, value, expected) in cases {
        assert_eq!(one_column(wire.clone(), &value), Some(expected), "{wire:?}");
    }
}

#[test]
fn array_shapes() {
    let array = |dimensions: &[(i32, i32)], elements: &[Option<i32>]| {
        let mut bytes = (dimensions.len() as i32).to_be_bytes().to_vec();
        bytes.extend(1_i32.to_be_bytes());
        bytes.extend(23_i32.to_be_bytes());
        for (length, lower_bound) in dimensions {
            bytes.extend(length.to_be_bytes());
            bytes.extend(lower_bound.to_be_bytes());
        }
        for element in elements {
            match element {
                Some(element) => {
                    bytes.extend(4_i32.to_be_bytes());
                    bytes.extend(element.to_be_bytes());
                }
                None => bytes.extend((-1_i32).to_be_bytes()),
            }
        }
        bytes
    };
    let wire = Wire::List(Box::new(Wire::Int4));
    let mut decoder = decoder(std::slice::from_ref(&wire), 10);
    let mut bytes = header();
    bytes.extend(row(&[Some(&array(&[(2, 1)], &[Some(7), None]))]));
    bytes.extend(row(&[None]));
    bytes.extend(row(&[Some(&array(&[], &[]))]));
    fill(&mut decoder, &bytes).unwrap();
    let batch = decoder.take().unwrap().unwrap();
    assert_eq!(batch.column(0).data_type(), &wire.data_type());
    let lists = batch.column(0).as_list::<i32>();
    let first = lists.value(0);
    let first = first.as_primitive::<Int32Type>();
    assert_eq!((first.len(), first.value(0), first.is_null(1)), (2, 7, true));
    assert!(lists.is_null(1));
    assert_eq!(lists.value(2).len(), 0);

    for (value, expected) in [
        (array(&[(1, 1), (1, 1)], &[Some(1)]), Problem::ArrayDimensions(2)),
        (array(&[(1, 0)], &[Some(1)]), Problem::ArrayLowerBound(0)),
        (array(&[(2, 1)], &[Some(1)]), Problem::Malformed("array")),
    ] {
        let mut bytes = row(&[Some(&value)]);
        let mut all = header();
        all.append(&mut bytes);
        let mut decoder = super::tests::decoder(std::slice::from_ref(&wire), 10);
        match fill(&mut decoder, &all) {
            Err(DecodeFailure::Value { problem, .. }) => assert_eq!(problem, expected),
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    /// However the stream is cut into chunks, the rows are the same.
    #[test]
    fn chunks_do_not_matter(
        values in proptest::collection::vec((any::<Option<i32>>(), proptest::option::of("[a-zß😀]{0,6}")), 0..20),
        cuts in proptest::collection::vec(1_usize..90, 0..80),
        together in 1_usize..4,
    ) {
        let mut bytes = header();
        for (number, name) in &values {
            let number = number.map(i32::to_be_bytes);
            bytes.extend(row(&[number.as_ref().map(<[u8; 4]>::as_slice), name.as_ref().map(String::as_bytes)]));
        }
        bytes.extend((-1_i16).to_be_bytes());
        let mut decoder = decoder(&[Wire::Int4, text()], 7);
        let mut rest = Bytes::from(bytes);
        let mut cuts = cuts.into_iter();
        let mut seen = Vec::new();
        loop {
            // One to three messages at a time.
            let mut chunk = BytesMut::new();
            for _ in 0..together {
                let cut = cuts.next().unwrap_or(rest.len()).min(rest.len());
                chunk.extend_from_slice(&message(&rest.split_to(cut)));
            }
            let last = rest.is_empty();
            decoder.push(chunk.freeze());
            loop {
                let full = decoder.fill().unwrap();
                if !full && !last { break; }
                let Some(batch) = decoder.take().unwrap() else { break };
                prop_assert!(batch.num_rows() <= 7);
                let numbers = batch.column(0).as_primitive::<Int32Type>();
                let names = batch.column(1).as_string::<i32>();
                prop_assert_eq!(batch.column(1).data_type(), &DataType::Utf8);
                for index in 0..batch.num_rows() {
                    seen.push((
                        numbers.is_valid(index).then(|| numbers.value(index)),
                        names.is_valid(index).then(|| names.value(index).to_owned()),
                    ));
                }
            }
            if last { break; }
        }
        decoder.end().unwrap();
        prop_assert_eq!(seen, values);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut all = header();
        all.extend(bytes);
        let mut decoder = decoder(&[Wire::List(Box::new(Wire::Int4)), text()], 7);
        let _ = fill(&mut decoder, &all);
        let _ = decoder.take();
    }
}
