//! In which form a result is sent, as the client asks for it.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::problem::Problem;

/// The form of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ResultFormat {
    Json,
    Csv,
    Arrow,
}

impl ResultFormat {
    const ALL: [Self; 3] = [Self::Json, Self::Csv, Self::Arrow];

    fn essence(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            other => other.essence(),
        })
    }

    /// By the ending of a name.
    pub(super) fn by_ending(ending: &str) -> Option<Self> {
        match ending {
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "arrow" => Some(Self::Arrow),
            _ => None,
        }
    }

    /// The form that `Accept` likes best; JSON where it likes several as much.
    pub(super) fn accepted(headers: &HeaderMap) -> Result<Self, Problem> {
        let ranges = weights(headers, &header::ACCEPT);
        if ranges.is_empty() {
            return Ok(Self::Json);
        }
        let weight = |format: Self| {
            let essence = format.essence();
            let group = essence.split('/').next().unwrap_or_default();
            // the range that says most about it counts
            let by = |wanted: &str| ranges.iter().find(|(range, _)| range == wanted);
            by(essence)
                .or_else(|| by(&format!("{group}/*")))
                .or_else(|| by("*/*"))
                .map_or(0, |(_, weight)| *weight)
        };
        let mut best = (Self::Json, 0);
        for format in Self::ALL {
            if weight(format) > best.1 {
                best = (format, weight(format));
            }
        }
        if best.1 > 0 {
            return Ok(best.0);
        }
        let known = Self::ALL.map(Self::essence).join(", ");
        Err(Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            format!("a result is one of {known}; say so with Accept or with \"format\""),
        ))
    }
}

/// How the bytes of a result are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Zstd,
}

impl Coding {
    /// Of what the client can unpack, what packs best for its time.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let codings = weights(headers, &header::ACCEPT_ENCODING);
        let takes = |name: &str| {
            codings
                .iter()
                .any(|(coding, weight)| coding == name && *weight > 0)
        };
        if takes("zstd") {
            Self::Zstd
        } else if takes("gzip") || takes("x-gzip") {
            Self::Gzip
        } else {
            Self::Identity
        }
    }

    pub(super) fn name(self) -> Option<HeaderValue> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some(HeaderValue::from_static("gzip")),
            Self::Zstd => Some(HeaderValue::from_static("zstd")),
        }
    }
}

/// The names of a header such as `Accept`, each with its weight in thousandths.
fn weights(headers: &HeaderMap, name: &header::HeaderName) -> Vec<(String, u16)> {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let items = values.flat_map(|value| value.split(','));
    items
        .filter_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().filter(|name| !name.is_empty())?.to_lowercase();
            let weight = parts
                .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
                .map_or(Some(1.0), |text| text.parse::<f32>().ok());
            // a weight that is none: the client does not want it in any way we know
            let weight = weight
                .filter(|weight| (0.0..=1.0).contains(weight))
                .unwrap_or(0.0);
            Some((name, (weight * 1000.0) as u16))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn the_best_form_is_chosen() {
        for (accept, expected) in [
            ("*/*", Some(ResultFormat::Json)),
            ("text/csv", Some(ResultFormat::Csv)),
            ("text/*", Some(ResultFormat::Csv)),
            ("application/*", Some(ResultFormat::Json)),
            (
                "application/vnd.apache.arrow.stream, */*;q=0.1",
                Some(ResultFormat::Arrow),
            ),
            ("application/json;q=0.2, text/csv;q=0.9", Some(ResultFormat::Csv)),
            ("text/csv;q=0, */*;q=0.5", Some(ResultFormat::Json)),
            ("TEXT/CSV; charset=utf-8", Some(ResultFormat::Csv)),
            ("text/html", None),
            ("application/json;q=0", None),
        ] {
            let chosen = ResultFormat::accepted(&headers(header::ACCEPT, accept)).ok();
            assert_eq!(chosen, expected, "{accept}");
        }
        assert_eq!(
            ResultFormat::accepted(&HeaderMap::new()).ok(),
            Some(ResultFormat::Json)
        );
    }

    #[test]
    fn the_best_coding_is_chosen() {
        for (accept, expected) in [
            ("gzip, deflate, br, zstd", Coding::Zstd),
            ("gzip;q=0.5", Coding::Gzip),
            ("zstd;q=0, gzip", Coding::Gzip),
            ("identity", Coding::Identity),
            ("br", Coding::Identity),
            ("*", Coding::Identity),
        ] {
            let chosen = Coding::accepted(&headers(header::ACCEPT_ENCODING, accept));
            assert_eq!(chosen, expected, "{accept}");
        }
    }
}
