//! What a lake records of where the stores stood that a run has read.

use lakegate_crds::TableFormat;
use lakegate_lake::{CommitInfo, SourcePosition, WriteOptions};

use crate::support::{Place, info, on_every_place, options, people, write};

on_every_place! {
    positions_are_in_the_run_manifest,
}

async fn positions_are_in_the_run_manifest(make: fn() -> Place) {
    let sources = vec![
        SourcePosition {
            catalog: "shop".to_owned(),
            lsn: Some("16/B374D848".to_owned()),
            gtid: None,
            replica: true,
        },
        SourcePosition {
            catalog: "crm".to_owned(),
            lsn: None,
            gtid: Some("0-1-4711".to_owned()),
            replica: false,
        },
    ];
    for format in [TableFormat::Iceberg, TableFormat::Parquet] {
        let place = make();
        let lake = place.lake().await;
        for (run, sources) in [("run-1", sources.clone()), ("run-2", Vec::new())] {
            let options = WriteOptions {
                format,
                ..options(run)
            };
            let files = write(&lake, options, &people("a", 1, 3)).await.unwrap();
            let info = CommitInfo { sources, ..info(run) };
            lake.replace(files, info).await.unwrap();
        }
        let written = |run: &str| {
            let path = place.path().join(format!("shop/people/_runs/{run}.json"));
            std::fs::read_to_string(path).unwrap()
        };
        let json: serde_json::Value = serde_json::from_str(&written("run-1")).unwrap();
        let expected = serde_json::json!([
            {"catalog": "shop", "lsn": "16/B374D848", "replica": true},
            {"catalog": "crm", "gtid": "0-1-4711", "replica": false},
        ]);
        assert_eq!(json["sources"], expected, "{format:?}");
        // a store without a log, and what is of a run stays of it
        assert!(!written("run-2").contains("\"sources\""), "{format:?}");
        if format == TableFormat::Parquet {
            continue;
        }
        // whoever finds the manifest missing writes it again from the snapshot
        std::fs::remove_file(place.path().join("shop/people/_runs/run-1.json")).unwrap();
        let again = lake
            .run_manifest("shop", "people", "run-1")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(again.sources, sources);
        let snapshots = lake.load("shop", "people").await.unwrap().unwrap().snapshots();
        let has = |index: usize| {
            snapshots[index]
                .summary
                .iter()
                .any(|(key, _)| *key == "lakegate.source-positions")
        };
        assert!(has(0) && !has(1));
    }
}
