//! psql itself.

use tokio::process::Command;

use crate::support::Server;

async fn run(server: &Server, commands: &[&str]) -> (String, String) {
    let mut command = Command::new("psql");
    command
        .arg(format!(
            "host=127.0.0.1 port={} dbname=shop user=ann sslmode=disable",
            server.address.port()
        ))
        .args(["-X", "-A", "-P", "footer=off"]);
    for text in commands {
        command.args(["-c", text]);
    }
    let output = command.output().await.unwrap();
    (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_works() {
    let server = Server::start().await;
    let cases: [(&[&str], &str, &str); 7] = [
        (
            &["select id, name from orders where id < 3 order by 1"],
            "id|name\n1|a\n2|b,\"c\"\n",
            "",
        ),
        (&["select 1 as a; select 2 as b"], "a\n1\nb\n2\n", ""),
        (
            &["\\copy (select id from orders order by id limit 2) to stdout with csv header"],
            "id\n1\n2\n",
            "",
        ),
        (&["\\dn"], "List of schemas\n", ""),
        (&["\\dt"], "orders", ""),
        (&["\\d orders"], "bigint", ""),
        (
            &["select nope from orders"],
            "",
            "ERROR:  column \"nope\" does not exist\nLINE 1: select nope from orders\n               ^",
        ),
    ];
    for (commands, out, err) in cases {
        let (stdout, stderr) = run(&server, commands).await;
        assert!(stdout.contains(out), "{commands:?}: {stdout} {stderr}");
        assert!(
            if err.is_empty() {
                stderr.is_empty()
            } else {
                stderr.contains(err)
            },
            "{commands:?}: {stderr}"
        );
    }
}
