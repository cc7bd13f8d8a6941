//! A NATS server that is full, dies, hangs, forgets, is not there yet, or lets nobody in.

use async_nats::jetstream;

use super::desk::{self, Desk, are, batch};
use super::*;
use crate::config::file::Secret;

/// Runs `work` with a client that is not the program's.
fn on<T>(server: &Server, work: impl AsyncFnOnce(jetstream::Context) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(server.urls.as_slice()).await.unwrap();
        work(jetstream::new(client)).await
    })
}

/// Payloads of all that a stream holds.
pub(super) fn messages(server: &Server, stream: &str) -> Vec<Bytes> {
    on(server, async |context| {
        let stream = context.get_stream(stream).await.unwrap();
        let state = stream.cached_info().state.clone();
        let mut found = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            if let Ok(message) = stream.get_raw_message(sequence).await {
                found.push(message.payload);
            }
        }
        found
    })
}

fn of(server: &Server) -> Settings {
    Settings { place: Place::Nats(Box::new(server.clone())), ..bounds(1) }
}

/// One whose silence is noticed soon.
fn quick(nats: &Nats) -> Settings {
    of(&Server { timeout: Duration::from_millis(1_500), ..server(&[nats]) })
}

#[test]
fn a_full_queue_refuses_and_takes_again_after_a_removal() {
    let scratch = Scratch::new("queue_full");
    let nats = Nats::start(scratch.path());
    let settings = Settings { batches_max: 5, ..of(&server(&[&nats])) };
    let (mut desk, _) = Desk::load(&settings);
    desk.append(1..=5);
    desk.is_refused(6);
    desk.is_refused(7);
    desk.order(Order::Remove(2));
    // The removal is not answered.
    let mut row = 8;
    loop {
        desk.order(Order::Append(batch(row)));
        match desk.next() {
            Answer::Appended(appended) if appended == row => break,
            Answer::Refused(refused) if refused == row => row += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(desk.close(), []);
    let (_, found) = Desk::load(&settings);
    are(&found, [1, 3, 4, 5, row]);
}

#[test]
fn what_a_killed_server_acknowledged_is_there_when_it_is_back() {
    const ROWS: u64 = 2_000;
    let scratch = Scratch::new("queue_server_killed");
    let mut nats = Nats::start(scratch.path());
    let settings = quick(&nats);
    let (mut desk, _) = Desk::load(&settings);
    (1..=ROWS).for_each(|row| desk.order(Order::Append(batch(row))));
    let (mut held, mut refused, mut is_away) = (Vec::new(), 0, false);
    while held.len() as u64 + refused < ROWS {
        match desk.next() {
            Answer::Appended(row) => {
                held.push(row);
                if held.len() == 600 {
                    nats.kill();
                }
            }
            Answer::Refused(_) => refused += 1,
            Answer::Away { .. } => is_away = true,
            other => panic!("{other:?}"),
        }
    }
    assert!(held.len() >= 600 && refused > 0, "{} held, {refused} refused", held.len());
    if !is_away {
        desk.is_away();
    }
    desk.is_refused(ROWS + 1);
    // A removal is kept until it is back.
    desk.order(Order::Remove(held[0]));
    desk.order(Order::SetAside(held[1]));
    nats.start_again();
    while desk.next() != Answer::Back {}
    desk.append(ROWS + 2..=ROWS + 3);
    // What was refused and is in the stream all the same is removed, before others can load it.
    let wanted: Vec<u64> = held[2..].iter().copied().chain([ROWS + 2, ROWS + 3]).collect();
    is_left(&settings, &wanted);
    assert_eq!(desk.close(), []);
    let (_, found) = Desk::load(&settings);
    are(&found, wanted);
    let Place::Nats(server) = &settings.place else { unreachable!("it is a server") };
    assert_eq!(messages(server, "REHOME_ASIDE_1"), [batch(held[1]).bytes]);
}

/// Waits until the stream holds as many messages as there are rows.
fn is_left(settings: &Settings, rows: &[u64]) {
    let Place::Nats(server) = &settings.place else { unreachable!("it is a server") };
    let mut left = 0;
    crate::servers::wait_for("what is in doubt to leave the stream", desk::SOON, || {
        left = on(server, async |context| {
            let stream = context.get_stream("REHOME_INBOX_1").await.unwrap();
            stream.cached_info().state.messages
        });
        left == rows.len() as u64
    });
}

#[test]
fn a_server_that_hangs_refuses_in_time_and_what_it_stores_late_leaves() {
    let scratch = Scratch::new("queue_hangs");
    let nats = Nats::start(scratch.path());
    let settings = quick(&nats);
    let (mut desk, _) = Desk::load(&settings);
    desk.append(1..=3);
    nats.pause();
    let began = std::time::Instant::now();
    for row in 4..=9 {
        desk.order(Order::Append(batch(row)));
    }
    let mut refused = Vec::new();
    while refused.len() < 6 {
        match desk.next() {
            Answer::Refused(row) => refused.push(row),
            Answer::Away { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    println!("refused after {} ms", began.elapsed().as_millis());
    refused.sort_unstable();
    assert_eq!(refused, [4, 5, 6, 7, 8, 9]);
    desk.order(Order::Remove(1));
    // The server reads what the old connection sent when it goes on.
    nats.resume();
    while desk.next() != Answer::Back {}
    desk.append(10..=10);
    is_left(&settings, &[2, 3, 10]);
    assert_eq!(desk.close(), []);
    let (_, found) = Desk::load(&settings);
    are(&found, [2, 3, 10]);
}

#[test]
fn a_start_without_the_server_is_told_loaded_when_it_is_back() {
    let scratch = Scratch::new("queue_start");
    let mut nats = Nats::start(scratch.path());
    let settings = quick(&nats);
    let (mut desk, _) = Desk::load(&settings);
    desk.append(1..=2);
    assert_eq!(desk.close(), []);
    nats.kill();

    let mut desk = Desk::open(&settings);
    let why = desk.is_away();
    assert!(why.contains("refused"), "{why}");
    desk.is_refused(3);
    nats.start_again();
    match desk.next() {
        Answer::Loaded(found) => are(&found, [1, 2]),
        other => panic!("{other:?}"),
    }
    assert_eq!(desk.next(), Answer::Back);
    desk.append(4..=4);
    // Its end while the server is away waits for nobody.
    nats.kill();
    desk.is_away();
    desk.order(Order::Append(batch(5)));
    desk.order(Order::Remove(1));
    assert_eq!(desk.close(), [Answer::Refused(5)]);
}

#[test]
fn a_server_that_lost_what_it_acknowledged_mixes_nothing_up() {
    let scratch = Scratch::new("queue_lost");
    let mut nats = Nats::start(scratch.path());
    let settings = quick(&nats);
    let (mut desk, _) = Desk::load(&settings);
    desk.append(1..=3);
    nats.kill();
    desk.is_away();
    let copy = scratch.path().join("copy");
    nats.copy_disk(&copy);
    nats.start_again();
    while desk.next() != Answer::Back {}
    desk.append(4..=6);
    nats.kill();
    desk.is_away();
    // As if its disk had not synced these.
    nats.put_disk_back(&copy);
    nats.start_again();
    while desk.next() != Answer::Back {}
    // The numbers of 4, 5 and 6 are given again.
    desk.append(7..=9);
    [4, 5, 6, 2].into_iter().for_each(|row| desk.order(Order::Remove(row)));
    assert_eq!(desk.close(), []);
    let (_, found) = Desk::load(&settings);
    are(&found, [1, 3, 7, 8, 9]);
}

#[test]
fn a_stream_that_is_otherwise_is_told_and_not_used() {
    let scratch = Scratch::new("queue_otherwise");
    let nats = Nats::start(scratch.path());
    let server = server(&[&nats]);
    let (desk, _) = Desk::load(&of(&server));
    assert_eq!(desk.close(), []);
    let mut desk = Desk::open(&Settings { batches_max: 7, ..of(&server) });
    let why = desk.is_away();
    for word in ["REHOME_INBOX_1", "`max_msgs` is 10000, and 7 is needed", "nats stream edit"] {
        assert!(why.contains(word), "{word:?} is not in {why:?}");
    }
    desk.is_refused(1);
    // An operator mends it.
    on(&server, async |context| {
        context.delete_stream("REHOME_INBOX_1").await.unwrap();
    });
    assert_eq!(desk.next(), Answer::Loaded(Vec::new()));
    assert_eq!(desk.next(), Answer::Back);
    desk.append(1..=1);

    let mut desk =
        Desk::open(&Settings { site: SiteId(2), ..of(&Server { replicas: 3, ..server }) });
    let why = desk.is_away();
    assert!(why.contains("replicas"), "{why}");
}

#[test]
fn what_is_no_batch_is_set_aside() {
    let scratch = Scratch::new("queue_strange");
    let nats = Nats::start(scratch.path());
    let server = server(&[&nats]);
    let (mut desk, _) = Desk::load(&of(&server));
    desk.append(1..=1);
    assert_eq!(desk.close(), []);
    on(&server, async |context| {
        let sent = context.publish("rehome.inbox.1.2.0", "hello".into()).await.unwrap();
        sent.await.unwrap();
    });
    let (mut desk, found) = Desk::load(&of(&server));
    are(&found, [1]);
    desk.append(2..=2);
    assert_eq!(desk.close(), []);
    let (_, found) = Desk::load(&of(&server));
    are(&found, [1, 2]);
    assert_eq!(messages(&server, "REHOME_ASIDE_1"), [Bytes::from_static(b"hello")]);
}

#[test]
fn a_batch_that_is_too_large_for_the_server_is_refused_alone() {
    let scratch = Scratch::new("queue_large");
    let nats = Nats::start(scratch.path());
    let (mut desk, _) = Desk::load(&of(&server(&[&nats])));
    desk.order(Order::Append(QueuedBatch { bytes: vec![7; 2 << 20].into(), ..batch(1) }));
    assert_eq!(desk.next(), Answer::Refused(1));
    desk.append(2..=2);
}

/// Certificates of these tests alone, for 127.0.0.1.
fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/queue/tests/tls").join(name)
}

#[test]
fn tls_and_a_password_let_in_and_nothing_less_does() {
    let scratch = Scratch::new("queue_tls");
    let more = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\" }}\n\
         authorization {{ users: [ {{ user: rehome, password: \"open sesame\" }} ] }}\n",
        tls_file("server.pem").display(),
        tls_file("server.key").display(),
    );
    let nats = Nats::start_with(scratch.path(), &more);
    let login = |password: &str| Login::User("rehome".into(), Secret(password.into()));
    let right = Server {
        urls: vec![format!("tls://{}", nats.address())],
        login: login("open sesame"),
        ca_file: Some(tls_file("ca.pem")),
        ..server(&[])
    };
    let (mut desk, _) = Desk::load(&of(&right));
    desk.append(1..=1);
    assert_eq!(desk.close(), []);

    let why = |server: Server| {
        let mut desk = Desk::open(&of(&server));
        let why = desk.is_away();
        desk.is_refused(2);
        assert_eq!(desk.close(), []);
        assert!(!why.contains("guessed"), "{why}");
        why
    };
    for login in [login("guessed"), Login::Nobody] {
        let why = why(Server { login, ..right.clone() });
        assert!(why.contains("refuses the user, the password or the credentials"), "{why}");
    }
    let other = Server { ca_file: Some(tls_file("server.pem")), ..right.clone() };
    let told = why(other);
    assert!(told.contains("certificate"), "{told}");
    let none = Server { ca_file: Some(scratch.path().join("none.pem")), ..right };
    let told = why(none);
    assert!(told.contains("No such file"), "{told}");
}

#[test]
fn credentials_that_are_none_are_told() {
    let login = Login::Credentials(Secret("no credentials".into()));
    let nobody = Server { urls: vec!["nats://127.0.0.1:1".into()], login, ..server(&[]) };
    let mut desk = Desk::open(&of(&nobody));
    let why = desk.is_away();
    assert!(why.contains("credentials file cannot be used"), "{why}");
}

#[test]
fn a_cluster_of_three_goes_on_without_one_and_not_without_two() {
    let scratch = Scratch::new("queue_two_of_three");
    let mut nats = Nats::cluster(scratch.path(), 3);
    let timeout = Duration::from_secs(2);
    let settings = of(&Server { replicas: 3, timeout, ..server(&nats.iter().collect::<Vec<_>>()) });
    let mut desk = Desk::open(&settings);
    while desk.next() != Answer::Loaded(Vec::new()) {}
    let mut held = append_in_the_end(&mut desk, 1);
    for (turn, member) in (1..).zip(&mut nats) {
        member.kill();
        held.extend(append_in_the_end(&mut desk, 1_000_000 * turn));
        member.start_again();
    }
    nats[..2].iter_mut().for_each(Nats::kill);
    // What a minority takes is taken by nobody.
    desk.order(Order::Append(batch(9_000_000)));
    while desk.next() != Answer::Refused(9_000_000) {}
    nats[0].start_again();
    held.extend(append_in_the_end(&mut desk, 9_000_001));
    desk.close();
    let mut desk = Desk::open(&settings);
    let found = loop {
        if let Answer::Loaded(found) = desk.next() {
            break found;
        }
    };
    let mut rows: Vec<u64> = found.iter().map(|batch| batch.id - (1 << 40)).collect();
    rows.retain(|row| held.contains(row));
    assert_eq!(rows, held, "all that was acknowledged is held, in order");
}

/// Appends until ten were taken one after the other; says which were.
fn append_in_the_end(desk: &mut Desk, first: u64) -> Vec<u64> {
    let (mut held, mut in_a_row, mut row) = (Vec::new(), 0, first);
    let began = std::time::Instant::now();
    crate::servers::wait_for("batches to be taken", desk::SOON, || {
        desk.order(Order::Append(batch(row)));
        let is_taken = loop {
            match desk.next() {
                Answer::Appended(taken) if taken == row => break true,
                Answer::Refused(refused) if refused == row => break false,
                Answer::Away { .. } | Answer::Back | Answer::Restarted => {}
                other => panic!("{other:?}"),
            }
        };
        in_a_row = if is_taken { in_a_row + 1 } else { 0 };
        held.extend(is_taken.then_some(row));
        row += 1;
        in_a_row == 10
    });
    println!("ten in a row after {} ms", began.elapsed().as_millis());
    held
}

/// The batches that are told as another process's, and what else was told meanwhile.
fn found(desk: &mut Desk) -> (Vec<QueuedBatch>, Vec<Answer>) {
    let mut others = Vec::new();
    loop {
        match desk.next() {
            Answer::Found(batches) => return (batches, others),
            other => others.push(other),
        }
    }
}

#[test]
fn what_a_replaced_keeper_appends_is_found_by_the_next_one() {
    let scratch = Scratch::new("queue_replaced");
    let nats = Nats::start(scratch.path());
    let settings = of(&server(&[&nats]));
    let (mut old, _) = Desk::load(&settings);
    old.append(1..=3);
    let (mut new, held) = Desk::load(&settings);
    are(&held, 1..=3);
    // It has not heard that it was replaced; the next one appends beside it, in rows like its own.
    old.append(4..=5);
    new.append(4..=5);
    old.append(6..=6);
    new.append(7..=7);
    let mut all = Vec::new();
    while all.len() < 3 {
        let (batches, others) = found(&mut new);
        assert_eq!(others, []);
        all.extend(batches);
    }
    are(&all, 4..=6);
    assert!(all[0].row > held[2].row, "rows of their own: {}", all[0].row);
    // They are removed like any other, also when the one that was replaced does it as well.
    all.iter().for_each(|batch| new.order(Order::Remove(batch.row)));
    old.order(Order::Remove(5));
    is_left(&settings, &[1, 2, 3, 4, 5, 7]);
    assert_eq!(new.close(), []);
    drop(old);
    let (_, left) = Desk::load(&settings);
    are(&left, [1, 2, 3, 4, 5, 7]);
}

#[test]
fn what_others_append_while_the_connection_is_broken_is_found_after_it() {
    let scratch = Scratch::new("queue_replaced_broken");
    let mut nats = Nats::start(scratch.path());
    let settings = quick(&nats);
    let (mut old, _) = Desk::load(&settings);
    let (mut new, _) = Desk::load(&settings);
    new.append(1..=1);
    nats.kill();
    new.is_away();
    nats.start_again();
    while old.next() != Answer::Back {}
    old.append(2..=2);
    let (batches, others) = found(&mut new);
    are(&batches, 2..=2);
    assert_eq!(others, [Answer::Restarted, Answer::Back], "it may have lost something");
}
