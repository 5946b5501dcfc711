//! Two peers in one process, in virtual time: no sockets, no sleeping.
#![expect(clippy::unwrap_used, reason = "tests: a failure is a panic")]

mod network;

use std::ops::Range;
use std::time::Duration;

use network::{HOST, Network, ms};
use transport::{
    Channel, CloseReason, Config, Event, MAX_MESSAGE_BYTES, OfferError, Peer, SILENCE, SendError, VideoOut,
};

/// A frame of `len` bytes that says which it is: a start code, a slice header, then a pattern of the number.
fn frame(number: u32, len: usize) -> Vec<u8> {
    let key = number == 0;
    let mut bytes = vec![0, 0, 0, 1];
    if key {
        // A parameter set first, as encoders do.
        bytes.extend([0x67, 0x42, 0xe0, 0x1f, 0xd9, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 0, 0, 0, 1]);
    }
    bytes.push(if key { 0x65 } else { 0x41 });
    bytes.extend(number.to_be_bytes().map(|b| b | 0x80));
    bytes.extend((0..len).map(|i| 0x80 | u8::try_from((i + number as usize) % 127).unwrap()));
    bytes
}

/// Sends frames at 30 fps, then goes on for a second; gives what the client saw.
fn stream(network: &mut Network, numbers: Range<u32>, len: usize) -> Vec<(u32, bool)> {
    let mut seen = Vec::new();
    let collect = |network: &mut Network, seen: &mut Vec<(u32, bool)>| {
        for event in network.client_events.drain(..) {
            if let Event::Video(video) = event {
                seen.push((video.rtp_time / 3000, video.contiguous));
            }
        }
    };
    for number in numbers {
        let sent = network.host_do(|host, now| {
            host.send_video(VideoOut { rtp_time: u64::from(number) * 3000, bytes: frame(number, len) }, now)
        });
        assert!(sent, "frame {number}");
        network.run_for(ms(33));
        collect(network, &mut seen);
    }
    network.run_for(ms(1000));
    collect(network, &mut seen);
    seen
}

#[test]
fn they_connect_quickly() {
    let mut network = Network::connect(1, ms(1), 0.0);
    let connected = network.run_until(ms(2000), |n| n.host.is_connected() && n.client.is_connected());
    assert!(connected < ms(100), "{connected:?}");
    let open = network.run_until(ms(2000), |n| n.open_channels() == 6);
    assert!(open < ms(100), "{open:?}");
}

#[test]
fn frames_arrive_whole_and_in_order() {
    let mut network = Network::connected(2, ms(5), 0.0);
    let seen = stream(&mut network, 0..60, 20_000);
    assert_eq!(seen.len(), 60);
    assert!(
        seen.iter().enumerate().all(|(i, (number, whole))| u32::try_from(i).unwrap() == *number && *whole)
    );
}

#[test]
fn loss_and_reordering_are_repaired() {
    let mut network = Network::connected(3, ms(10), 0.0);
    // A receiver cannot miss what it never heard of: the loss begins behind the first frame.
    stream(&mut network, 0..1, 6_000);
    network.loss = 0.02;
    network.jitter = ms(8);
    let seen = stream(&mut network, 1..301, 6_000);
    assert!(network.n_lost > 20, "the network lost only {} datagrams", network.n_lost);
    let numbers: Vec<u32> = seen.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..301).collect::<Vec<_>>());
    assert!(seen.iter().all(|(_, contiguous)| *contiguous));
}

#[test]
fn a_frame_is_on_its_way_at_once() {
    let mut network = Network::connected(4, ms(1), 0.0);
    // Large enough for a dozen packets, small enough for the assumed bandwidth of a few milliseconds.
    let before = network.now();
    network.host_do(|host, now| host.send_video(VideoOut { rtp_time: 1, bytes: frame(0, 12_000) }, now));
    network.run_until(ms(500), |n| n.client_events.iter().any(|event| matches!(event, Event::Video(_))));
    let took = network.now() - before;
    assert!(took < ms(25), "{took:?}");
}

#[test]
fn messages_go_both_ways_in_pieces_and_in_order() {
    let mut network = Network::connected(5, ms(10), 0.02);
    let piece = |n: u8| vec![n; MAX_MESSAGE_BYTES];
    for n in 0..64 {
        network.client_do(|client, _| client.send(Channel::Rpc, &piece(n))).unwrap();
        network.host_do(|host, _| host.send(Channel::Rpc, &piece(n))).unwrap();
    }
    network.client_do(|client, _| client.send(Channel::Input, b"newest")).unwrap();
    network.host_do(|host, _| host.send(Channel::Frame, b"beside")).unwrap();
    network.run_for(ms(15_000));
    for (events, other) in [(&network.host_events, Channel::Input), (&network.client_events, Channel::Frame)]
    {
        let rpc: Vec<u8> = events
            .iter()
            .filter_map(|event| match event {
                Event::Message(Channel::Rpc, bytes) => {
                    assert!(bytes.len() == MAX_MESSAGE_BYTES && bytes.iter().all(|b| *b == bytes[0]));
                    Some(bytes[0])
                }
                _ => None,
            })
            .collect();
        assert_eq!(rpc, (0..64).collect::<Vec<u8>>());
        // It may be lost; it must not come elsewhere.
        assert!(
            events
                .iter()
                .all(|event| !matches!(event, Event::Message(c, _) if *c != Channel::Rpc && *c != other))
        );
    }
    assert!(network.host.rpc_is_delivered());
}

#[test]
fn too_much_and_too_long_is_refused_not_lost() {
    let mut network = Network::connected(6, ms(10), 0.0);
    let send =
        |network: &mut Network, len: usize| network.host_do(|host, _| host.send(Channel::Rpc, &vec![7; len]));
    assert_eq!(send(&mut network, MAX_MESSAGE_BYTES + 1), Err(SendError::TooLong));
    let mut n_taken = 0;
    while send(&mut network, MAX_MESSAGE_BYTES).is_ok() {
        n_taken += 1;
        assert!(n_taken < 1000, "nothing bounds the queue");
    }
    assert_eq!(send(&mut network, MAX_MESSAGE_BYTES), Err(SendError::Full));
    assert!(!network.host.rpc_is_delivered());
    network.run_for(ms(10_000));
    let n =
        network.client_events.iter().filter(|event| matches!(event, Event::Message(Channel::Rpc, _))).count();
    assert_eq!(n, n_taken);
    assert!(network.host.rpc_is_delivered());
    assert_eq!(send(&mut network, 1), Ok(()));
}

#[test]
fn key_frames_are_asked_for_at_most_three_times_a_second() {
    let mut network = Network::connected(7, ms(1), 0.0);
    stream(&mut network, 0..3, 2_000);
    network.host_events.clear();
    let start = network.now();
    for _ in 0..100 {
        network.client_do(|client, _| client.request_key_frame());
        network.run_for(ms(10));
    }
    network.run_for(ms(500));
    let n = network.host_events.iter().filter(|event| matches!(event, Event::KeyFrameWanted)).count();
    assert!((2..=5).contains(&n), "{n} in {:?}", network.now() - start);
}

#[test]
fn who_obeys_the_estimate_gets_through_a_narrow_path() {
    let mut network = Network::connected(8, ms(20), 0.0);
    network.rate_bps = Some(1_500_000);
    let (mut estimate_bps, mut n_seen_late) = (10_000_000_u64, 0);
    for number in 0..450_u32 {
        for event in network.host_events.drain(..) {
            if let Event::Estimate(bps) = event {
                estimate_bps = bps;
            }
        }
        // As the host does: no frame while one waits, and 0.85 of the estimate, here at most 3 Mbit/s.
        let len = usize::try_from(estimate_bps.min(3_500_000) * 85 / 100 / 8 / 30).unwrap();
        if network.host.queue().oldest.is_none_or(|oldest| network.now() - oldest < ms(33)) {
            network.host_do(|host, now| {
                host.send_video(
                    VideoOut { rtp_time: u64::from(number) * 3000, bytes: frame(number, len) },
                    now,
                )
            });
        }
        network.run_for(ms(33));
        let n = network.client_events.drain(..).filter(|event| matches!(event, Event::Video(_))).count();
        n_seen_late += if number >= 300 { n } else { 0 };
    }
    assert!((400_000..2_200_000).contains(&estimate_bps), "{estimate_bps} bit/s");
    assert!(n_seen_late > 100, "{n_seen_late} of 150 frames");
}

#[test]
fn goodbye_reaches_the_other_side() {
    let mut network = Network::connected(9, ms(5), 0.0);
    network.client_do(|client, _| client.close());
    network.run_for(ms(100));
    assert_eq!(network.closed(HOST), Some(CloseReason::Remote));
    assert!(network.client.is_finished());
    let sent =
        network.host_do(|host, now| host.send_video(VideoOut { rtp_time: 0, bytes: frame(0, 10) }, now));
    assert!(!sent);
    assert_eq!(network.host_do(|host, _| host.send(Channel::Rpc, b"?")), Err(SendError::NotOpen));
}

#[test]
fn a_vanished_client_is_noticed() {
    let mut network = Network::connected(10, ms(5), 0.0);
    network.run_for(Duration::from_secs(60));
    assert_eq!(network.closed(HOST), None, "an idle client is not a vanished one");
    network.unplug_client();
    let took = network.run_until(Duration::from_secs(20), |n| n.closed(HOST).is_some());
    assert_eq!(network.closed(HOST), Some(CloseReason::Silent));
    assert!(took <= SILENCE + ms(1100), "{took:?}");
}

#[test]
fn a_client_that_never_comes_is_given_up() {
    let mut network = Network::connect(11, ms(5), 0.0);
    network.unplug_client();
    let took = network.run_until(Duration::from_secs(20), |n| n.closed(HOST).is_some());
    assert!(took <= SILENCE + ms(100), "{took:?}");
}

#[test]
fn bad_offers_are_refused() {
    let now = std::time::Instant::now();
    let config = Config { addresses: vec![HOST], start_bps: 1_000_000, max_bps: 1_000_000 };
    let (_, offer) = Peer::offer(&config, now).unwrap();
    assert!(Peer::accept(&config, &offer, now).is_ok());
    let refused = |offer: &str| Peer::accept(&config, offer, now).map(|_| ()).unwrap_err();
    for text in ["", "hello", "v=0\r\n", &"a=".repeat(100_000), &offer[..offer.len() / 2]] {
        assert!(matches!(refused(text), OfferError::BadOffer(_)), "{:?}", &text[..text.len().min(20)]);
    }
    assert_eq!(refused(&offer.replace("H264", "H263").replace("h264", "h263")), OfferError::NoCodec);
    assert_eq!(refused(&offer.replace("packetization-mode=1", "packetization-mode=0")), OfferError::NoCodec);
    let no_fingerprint: String =
        offer.lines().filter(|l| !l.contains("fingerprint")).map(|l| format!("{l}\r\n")).collect();
    assert!(matches!(refused(&no_fingerprint), OfferError::BadOffer(_)));
}

#[test]
fn mangled_offers_never_panic() {
    let now = std::time::Instant::now();
    let config = Config { addresses: vec![HOST], start_bps: 1_000_000, max_bps: 1_000_000 };
    let (_, offer) = Peer::offer(&config, now).unwrap();
    let mut random = network::Random(42);
    for _ in 0..200 {
        let mut bytes = offer.clone().into_bytes();
        for _ in 0..1 + random.below(6) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] = u8::try_from(random.below(128)).unwrap(),
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        // Accepted or refused, both are fine.
        let _either = Peer::accept(&config, &String::from_utf8_lossy(&bytes), now).is_ok();
    }
}

#[test]
fn strangers_datagrams_are_ignored() {
    let mut network = Network::connected(12, ms(1), 0.0);
    let mut random = network::Random(7);
    let now = network.now();
    for first in 0..=255_u8 {
        let mut bytes: Vec<u8> = (0..64).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        bytes[0] = first;
        let taken = network.host.receive(now, "203.0.113.9:999".parse().unwrap(), HOST, &bytes);
        assert!(!taken, "first byte {first}");
    }
    network.run_for(ms(1000));
    assert!(network.host.is_connected());
    assert_eq!(network.closed(HOST), None);
}

#[test]
fn a_connection_at_rest_is_quiet() {
    let mut network = Network::connected(13, ms(1), 0.0);
    stream(&mut network, 0..30, 12_000);
    network.run_for(Duration::from_secs(10));
    let (n_sent, n_wakes) = (network.n_sent, network.n_wakes);
    network.run_for(Duration::from_secs(60));
    let (sent_a_s, wakes_a_s) = ((network.n_sent - n_sent) / 60, (network.n_wakes - n_wakes) / 60);
    // Both directions: checks with their answers, and reports.
    assert!(sent_a_s <= 12, "{sent_a_s} datagrams a second");
    assert!(wakes_a_s <= 30, "{wakes_a_s} wake-ups a second of both sides");
}
