//! A table goes with its Export, and no other table does, however often the process dies over it.

use lakegate_lake::{CommitInfo, Dropped, Lake, TableOwner};

use crate::faulty::{Fault, Faults, Request};
use crate::support::{Place, count_and_sum, info, on_every_place, options, people, run, tree, write};

on_every_place! {
    only_its_owner_removes_a_table,
    a_table_of_before_is_known_by_its_run,
    a_drop_that_is_killed_anywhere_is_taken_up,
    replies_that_are_lost_remove_no_less,
    what_a_first_run_left_is_not_taken_for_a_dropped_table,
}

fn owner(uid: &str) -> TableOwner {
    TableOwner {
        export_uid: uid.to_owned(),
        runs: ["elsewhere".to_owned()].into(),
    }
}

/// Publishes three rows, or more for the second run, as the Export with this uid.
async fn publish(lake: &Lake, run_id: &str, uid: Option<&str>, rows: i64) {
    let files = write(lake, options(run_id), &people("a", 1, rows)).await.unwrap();
    let info = CommitInfo {
        export_uid: uid.map(str::to_owned),
        ..info(run_id)
    };
    lake.replace(files, info).await.unwrap();
}

async fn only_its_owner_removes_a_table(make: fn() -> Place) {
    let place = make();
    let (lake, other) = (place.lake().await, place.lake().await);
    assert_eq!(
        lake.drop_owned("shop", "people", &owner("u1")).await.unwrap(),
        Dropped::Absent
    );
    publish(&lake, "run-1", Some("u1"), 3).await;
    // Made anew under its name: an Export of the same name is another one.
    publish(&other, "run-2", Some("u2"), 4).await;
    let before = tree(place.path());
    let kept = lake.drop_owned("shop", "people", &owner("u1")).await.unwrap();
    assert_eq!(
        kept,
        Dropped::Foreign("Export default/people with uid u2, in run run-2".to_owned())
    );
    assert_eq!(tree(place.path()), before, "nothing was touched");
    assert_eq!(count_and_sum(&lake).await.0, 4);
    assert_eq!(other.load("shop", "people").await.unwrap().unwrap().version(), 2);
    for expected in [Dropped::Removed, Dropped::Absent] {
        assert_eq!(
            lake.drop_owned("shop", "people", &owner("u2")).await.unwrap(),
            expected
        );
    }
    assert_eq!(tree(place.path()), Vec::<String>::new());
    // Who had it in mind does not take it for there.
    assert!(other.load("shop", "people").await.unwrap().is_none());
    assert!(other.list().await.unwrap().is_empty());
    publish(&other, "run-3", Some("u3"), 5).await;
    assert_eq!(count_and_sum(&lake).await.0, 5);
}

async fn a_table_of_before_is_known_by_its_run(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    publish(&lake, "run-1", None, 3).await;
    let kept = lake.drop_owned("shop", "people", &owner("u1")).await.unwrap();
    assert_eq!(
        kept,
        Dropped::Foreign("Export default/people, in run run-1".to_owned())
    );
    let knowing = TableOwner {
        runs: ["run-1".to_owned()].into(),
        ..owner("u1")
    };
    assert_eq!(
        lake.drop_owned("shop", "people", &knowing).await.unwrap(),
        Dropped::Removed
    );
    assert_eq!(tree(place.path()), Vec::<String>::new());
}

async fn a_drop_that_is_killed_anywhere_is_taken_up(make: fn() -> Place) {
    for fault in [Fault::DieBefore, Fault::DieAfter] {
        let mut died = 0;
        for step in 1.. {
            let place = make();
            {
                let lake = place.lake().await;
                publish(&lake, "run-1", Some("u1"), 3).await;
                publish(&lake, "run-2", Some("u1"), 4).await;
            }
            let faults = Faults::new(move |request: &Request| (request.number == step).then_some(fault));
            let dying = place.faulty_lake(&faults, true);
            let result = dying.drop_owned("shop", "people", &owner("u1")).await;
            if !faults.is_dead() {
                assert_eq!(result.unwrap(), Dropped::Removed);
                break;
            }
            died += 1;
            // Whoever reads meanwhile finds the newest rows, or no table: never older ones, never half.
            let lake = place.lake().await;
            let is_there = lake.load("shop", "people").await.unwrap().is_some();
            if is_there {
                assert_eq!(count_and_sum(&lake).await.0, 4, "step {step}");
            }
            let stranger = lake.drop_owned("shop", "people", &owner("u2")).await.unwrap();
            let is_foreign = matches!(stranger, Dropped::Foreign(_));
            assert!(
                if is_there {
                    is_foreign
                } else {
                    stranger == Dropped::Absent
                },
                "step {step}: {stranger:?}"
            );
            let again = lake.drop_owned("shop", "people", &owner("u1")).await.unwrap();
            assert!(
                again == Dropped::Removed || tree(place.path()).is_empty(),
                "step {step}: {again:?}"
            );
            assert_eq!(tree(place.path()), Vec::<String>::new(), "step {step}");
        }
        // The note twice, two versions, the hint, and of each run a data file, `_SUCCESS`, its manifests and the run's.
        assert!(died > 12, "{died}");
    }
}

async fn replies_that_are_lost_remove_no_less(make: fn() -> Place) {
    for fault in [Fault::Before, Fault::After] {
        for step in 1..=12 {
            let place = make();
            publish(place.lake().await.as_ref(), "run-1", Some("u1"), 3).await;
            let faults = Faults::new(move |request: &Request| (request.number == step).then_some(fault));
            let lake = place.faulty_lake(&faults, false);
            if lake.drop_owned("shop", "people", &owner("u1")).await.is_err() {
                let again = lake.drop_owned("shop", "people", &owner("u1")).await.unwrap();
                assert!(again == Dropped::Removed || again == Dropped::Absent);
            }
            assert_eq!(tree(place.path()), Vec::<String>::new(), "step {step}");
        }
    }
}

/// Files without a version may be those of a first run that is at work.
async fn what_a_first_run_left_is_not_taken_for_a_dropped_table(make: fn() -> Place) {
    let place = make();
    let lake = place.lake().await;
    let files = write(&lake, options("run-1"), &people("a", 1, 3)).await.unwrap();
    assert_eq!(
        lake.drop_owned("shop", "people", &owner("u1")).await.unwrap(),
        Dropped::Absent
    );
    lake.replace(files, info("run-1")).await.unwrap();
    assert_eq!(count_and_sum(&lake).await, (3, 6));
    run(&lake, "run-2", &people("a", 4, 1)).await.unwrap();
}
