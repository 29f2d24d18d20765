use arrow::array::{ArrayRef, Int32Array, StringArray};
use jiff::tz::TimeZone;

use super::*;

fn context() -> EncodeContext {
    EncodeContext {
        time_zone: TimeZone::UTC,
        reg_names: None,
    }
}

#[test]
fn copy_rows_are_quoted_as_postgres_quotes_them() {
    use copy::{CopyEncoder, CopyFormat, CopyOptions};
    let batch = RecordBatch::try_from_iter(vec![
        (
            "a",
            Arc::new(StringArray::from(vec![
                Some("x,\"y\""),
                Some(""),
                None,
                Some("tab\t\\nl\n"),
            ])) as ArrayRef,
        ),
        ("b", Arc::new(Int32Array::from(vec![1, 2, 3, 4])) as ArrayRef),
    ])
    .unwrap();
    let lines = |options: CopyOptions| {
        let encoder = CopyEncoder::new(&batch.schema(), options, context());
        let mut out = BytesMut::new();
        encoder.start(&["a".to_owned(), "b".to_owned()], &mut out);
        assert_eq!(encoder.encode(&batch, 0, 4, usize::MAX, &mut out).unwrap(), 4);
        let mut text = Vec::new();
        let mut rest = &out[..];
        while let [b'd', a, b, c, d, tail @ ..] = rest {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
            text.extend_from_slice(&tail[..length]);
            rest = &tail[length..];
        }
        String::from_utf8(text).unwrap()
    };
    let csv = CopyOptions {
        header: true,
        ..CopyOptions::of(CopyFormat::Csv)
    };
    assert_eq!(
        lines(csv),
        "a,b\n\"x,\"\"y\"\"\",1\n\"\",2\n,3\n\"tab\t\\nl\n\",4\n"
    );
    assert_eq!(
        lines(CopyOptions::of(CopyFormat::Text)),
        "x,\"y\"\t1\n\t2\n\\N\t3\ntab\\t\\\\nl\\n\t4\n"
    );
}
