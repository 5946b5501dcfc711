//! A real host with a control plane and clients of the test.
#![expect(clippy::unwrap_used, reason = "tests: a failure is a panic")]

mod control;

use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use client::live::{Client, Event, Picture};
use control::{Control, Heard, LONG, TOKEN, ask, last_picture, link_camera, orbit, picture, show, until};
use host::{HostConfig, Secret};
use protocol::link::{EndReason, FromHost, ToHost};
use protocol::live::rpc::client_message::Body as Request;
use protocol::live::rpc::host_message::Body as Response;
use protocol::live::{self, rpc};
use tokio::time::timeout;

mod limits;

type HostThread = JoinHandle<anyhow::Result<()>>;

/// A linked host that serves nothing yet.
async fn warm() -> (Control, HostThread) {
    warm_with(|_| ()).await
}

async fn warm_with(change: impl FnOnce(&mut HostConfig)) -> (Control, HostThread) {
    let (url, listener) = Control::listen().await;
    let mut config = HostConfig::new(url, Secret::new(TOKEN));
    change(&mut config);
    let thread =
        std::thread::Builder::new().name("test-host".into()).spawn(move || host::run(config)).unwrap();
    (Control::accept(listener).await, thread)
}

/// A host that serves `model`.
async fn serving(model: Option<&str>, models_dir: Option<&Path>) -> (Control, HostThread) {
    let (mut control, thread) = warm().await;
    control.assign(model, models_dir.map(|dir| dir.to_str().unwrap())).await;
    (control, thread)
}

/// Ends the host; it must end well.
async fn end(mut control: Control, thread: HostThread) {
    control.send(&ToHost::End { reason: EndReason::Stopped }).await;
    control.wait(|heard| matches!(heard, Heard::Json(FromHost::Ended { .. })).then_some(())).await;
    joined(thread).await.unwrap();
}

async fn joined(thread: HostThread) -> anyhow::Result<()> {
    timeout(LONG, tokio::task::spawn_blocking(|| thread.join().unwrap()))
        .await
        .expect("the host does not end")
        .unwrap()
}

/// Writes a bumpy sphere of radius about 1 and gives its path.
fn sphere(dir: &Path, n_triangles: u32, seed: u32) -> String {
    let file = dir.join(format!("sphere-{n_triangles}-{seed}.glb"));
    std::fs::write(&file, convert::samples::bumpy_sphere(n_triangles, seed)).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Waits until the client has everything open and the scene is `source`.
async fn sees(client: &mut Client, source: &str) -> rpc::SceneInfo {
    until(client, |event| match event {
        Event::Message(rpc::HostMessage { request: 0, body: Some(Response::Scene(info)) })
            if info.source == source =>
        {
            Some(info.clone())
        }
        _ => None,
    })
    .await
}

/// PSNR in dB of the luma of a picture against RGB bytes of the same size.
fn psnr_y(picture: &Picture, (width, height, rgb): &(u32, u32, Vec<u8>)) -> f64 {
    assert_eq!((picture.width, picture.height), (*width, *height));
    let error: f64 = rgb
        .chunks(3)
        .zip(&picture.y)
        .map(|(rgb, y)| {
            let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(f64::from);
            let luma = 16.0 + (0.2126 * r + 0.7152 * g + 0.0722 * b) * 219.0 / 255.0;
            (luma - f64::from(*y)).powi(2)
        })
        .sum();
    10.0 * (255.0 * 255.0 / (error / picture.y.len() as f64).max(1e-9)).log10()
}

/// How much a luma plane varies: 0 for a plain one.
fn contrast(picture: &Picture) -> f64 {
    let n = picture.y.len() as f64;
    let mean = picture.y.iter().map(|y| f64::from(*y)).sum::<f64>() / n;
    (picture.y.iter().map(|y| (f64::from(*y) - mean).powi(2)).sum::<f64>() / n).sqrt()
}

const SIZE: (u16, u16) = (640, 360);

#[tokio::test]
async fn the_video_is_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let model = sphere(dir.path(), 20_000, 1);
    let (mut control, host) = serving(Some(&model), None).await;
    let mut client = control.connect().await.unwrap();
    let info = sees(&mut client, &model).await;
    assert!(info.triangles > 10_000 && info.bounds_min.is_some(), "{info:?}");

    // What is told beside the first frames may come before the client's channel for it is open.
    show(&mut client, orbit(1, 0.0, SIZE)).await;
    for (seq, yaw) in [(2, 0.3), (3, 1.9)] {
        let input = orbit(seq, yaw, SIZE);
        let shown = show(&mut client, input).await;
        let meta = shown.meta.unwrap();
        assert_eq!((meta.camera, shown.width, shown.height), (input.camera, 640, 360));
        assert_eq!(
            meta.flags & live::Frame::FLAG_REFINED,
            0,
            "the first answer to input is a frame in motion"
        );
        assert!(contrast(&shown) > 4.0, "{:.1}", contrast(&shown));
        let still = control.still(Some(link_camera(&input.camera)), 640, 360).await;
        let in_motion = psnr_y(&shown, &still);
        let at_rest = psnr_y(&*last_picture(&mut client).await, &still);
        assert!(in_motion > 28.0 && at_rest > 32.0, "{in_motion:.1} dB in motion, {at_rest:.1} dB at rest");
        // The comparison would notice another camera.
        let other = control.still(Some(link_camera(&orbit(0, yaw + 0.4, SIZE).camera)), 640, 360).await;
        assert!(psnr_y(&shown, &other) < in_motion - 3.0);
    }
    // Without a camera, a still shows what the client sees.
    let own = control.still(None, 640, 360).await;
    let named = control.still(Some(link_camera(&orbit(0, 1.9, SIZE).camera)), 640, 360).await;
    assert!(own == named);
    end(control, host).await;
}

#[tokio::test]
async fn nothing_changed_is_nothing_sent() {
    let (mut control, host) = serving(Some("builtin://demo"), None).await;
    let mut client = control.connect().await.unwrap();
    sees(&mut client, "builtin://demo").await;
    show(&mut client, orbit(1, 0.5, SIZE)).await;
    let last = last_picture(&mut client).await;
    let refined = last.meta.unwrap();
    assert_ne!(refined.flags & live::Frame::FLAG_REFINED, 0, "rest ends with better pictures");
    // The same state again changes nothing, and neither does time.
    client.send_input(orbit(2, 0.5, SIZE));
    let quiet = timeout(Duration::from_secs(2), async {
        loop {
            if let Some(Event::Picture(_)) = client.next().await {
                return;
            }
        }
    })
    .await;
    assert!(quiet.is_err(), "a picture came though nothing changed");
    // A move does, and the frame numbers say that none was made in between.
    let next = show(&mut client, orbit(3, 0.6, SIZE)).await;
    assert_eq!(next.meta.unwrap().frame_id, refined.frame_id + 1);
    end(control, host).await;
}

/// A model is too heavy if the machine cannot keep the rate, whatever the machine: the rate is what no machine keeps.
#[tokio::test]
async fn too_heavy_a_model_is_coarse_in_motion_and_full_at_rest() {
    let (mut control, host) = warm_with(|config| (config.max_fps, config.motion_fps) = (240, 10_000)).await;
    control.assign(Some("builtin://demo"), None).await;
    let mut client = control.connect().await.unwrap();
    sees(&mut client, "builtin://demo").await;
    let mut seq = 0;
    let coarse = loop {
        seq += 1;
        let shown = show(&mut client, orbit(seq, 0.05 * seq as f32, SIZE)).await;
        let meta = shown.meta.unwrap();
        assert_eq!((shown.width, shown.height, meta.width, meta.height), (640, 360, 640, 360));
        assert!(seq < 100, "after 100 frames the host is at step {}", meta.step());
        if meta.step() >= 3 {
            break shown;
        }
    };
    let camera = orbit(seq, 0.05 * seq as f32, SIZE).camera;
    let still = control.still(Some(link_camera(&camera)), 640, 360).await;
    let full = last_picture(&mut client).await;
    let meta = full.meta.unwrap();
    assert_eq!((meta.step(), meta.width, meta.height), (0, 640, 360));
    let (in_motion, at_rest) = (psnr_y(&coarse, &still), psnr_y(&full, &still));
    // The model is where it should be, only coarse.
    assert!(
        in_motion > 20.0 && at_rest > 32.0 && at_rest > in_motion + 3.0,
        "{in_motion:.1}, {at_rest:.1} dB"
    );
    end(control, host).await;
}

#[tokio::test]
async fn the_video_follows_the_window() {
    let (mut control, host) = serving(Some("builtin://demo"), None).await;
    let mut client = control.connect().await.unwrap();
    sees(&mut client, "builtin://demo").await;
    for (seq, wish, size) in
        [(1, (640, 360), (640, 360)), (2, (401, 303), (400, 302)), (3, (4096, 4096), (1440, 1440))]
    {
        client.send_input(orbit(seq, 0.5, wish));
        let shown = picture(&mut client, |p| (p.width, p.height) == size).await;
        let meta = shown.meta.unwrap();
        assert_eq!((u32::from(meta.width), u32::from(meta.height)), size);
        assert_ne!(meta.flags & live::Frame::FLAG_KEY, 0, "a new size starts with a key frame");
    }
    end(control, host).await;
}

#[tokio::test]
async fn one_client_at_a_time() {
    let (mut control, host) = warm().await;
    assert_eq!(control.connect().await.err().as_deref(), Some("NoSession"));
    control.assign(None, None).await;
    assert_eq!(control.signal("nonsense".into()).await, Err("BadOffer".into()));
    let mut first = control.connect().await.unwrap();
    until(&mut first, |event| matches!(event, Event::Open).then_some(())).await;
    assert_eq!(control.connect().await.err().as_deref(), Some("ConnectionInUse"));
    first.close().await;
    control.wait(|heard| matches!(heard, Heard::Json(FromHost::Disconnected { .. })).then_some(())).await;
    let mut second = control.connect().await.unwrap();
    until(&mut second, |event| matches!(event, Event::Open).then_some(())).await;
    end(control, host).await;
}

#[tokio::test]
async fn a_client_that_never_connects_makes_room() {
    let (mut control, host) = serving(None, None).await;
    let start = Instant::now();
    // An offer whose sender is gone: its answer goes nowhere.
    let config = transport::Config { addresses: vec![], start_bps: 1_000_000, max_bps: 1_000_000 };
    let (_gone, offer) = transport::Peer::offer(&config, start).unwrap();
    control.signal(offer).await.unwrap();
    assert_eq!(control.connect().await.err().as_deref(), Some("ConnectionInUse"));
    control.wait(|heard| matches!(heard, Heard::Json(FromHost::Disconnected { .. })).then_some(())).await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(control.connect().await.is_ok());
    end(control, host).await;
}

#[tokio::test]
async fn models_are_listed_loaded_and_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    sphere(dir.path(), 2_000, 7);
    std::fs::write(dir.path().join("broken.glb"), b"glTF but not really").unwrap();
    let (mut control, host) = serving(None, Some(dir.path())).await;
    let mut client = control.connect().await.unwrap();
    let empty = sees(&mut client, "").await;
    assert_eq!((empty.triangles, empty.bounds_min), (0, None));

    let Ok(Response::Models(list)) = ask(&mut client, Request::ListModels(rpc::ListModels {})).await else {
        panic!()
    };
    assert_eq!(list.sources, ["builtin://demo", "broken.glb", "sphere-2000-7.glb"]);

    let load = |source: &str| Request::LoadModel(rpc::LoadModel { source: source.to_owned() });
    let Ok(Response::Scene(info)) = ask(&mut client, load("sphere-2000-7.glb")).await else { panic!() };
    assert_eq!(info.source, "sphere-2000-7.glb");
    assert!(info.revision > empty.revision && info.triangles > 1_000);
    show(&mut client, orbit(1, 0.0, SIZE)).await;
    let before = last_picture(&mut client).await;
    assert!(contrast(&before) > 4.0);

    for (source, code) in [
        ("broken.glb", "ModelInvalid"),
        ("none.glb", "ModelNotFound"),
        ("../broken.glb", "BadRequest"),
        ("/etc/passwd", "BadRequest"),
    ] {
        let error = ask(&mut client, load(source)).await.unwrap_err();
        assert_eq!(error.code, code, "{source}: {}", error.message);
        assert!(
            error.message.len() > 20 && !error.message.contains(dir.path().to_str().unwrap()),
            "{}",
            error.message
        );
    }
    // The old model is still there: a move shows it.
    let after = show(&mut client, orbit(2, 0.01, SIZE)).await;
    assert!(contrast(&after) > 4.0);

    // Picks hit the sphere in the middle and miss in the corner.
    let pick = |x, y| Request::Pick(rpc::Pick { x, y });
    let Ok(Response::Pick(hit)) = ask(&mut client, pick(0.5, 0.5)).await else { panic!() };
    let position = hit.position.unwrap();
    assert!(hit.hit && (0.5..1.6).contains(&position.z) && position.x.abs() < 0.2, "{position:?}");
    let Ok(Response::Pick(miss)) = ask(&mut client, pick(0.01, 0.01)).await else { panic!() };
    assert!(!miss.hit && miss.position.is_none());
    assert_eq!(ask(&mut client, pick(f32::NAN, 0.5)).await.unwrap_err().code, "BadRequest");

    // Who comes next finds the session as it was.
    client.close().await;
    control.wait(|heard| matches!(heard, Heard::Json(FromHost::Disconnected { .. })).then_some(())).await;
    let mut next = control.connect().await.unwrap();
    assert_eq!(sees(&mut next, "").await.triangles, 0);
    end(control, host).await;
}

#[tokio::test]
async fn the_look_is_the_clients() {
    use rpc::look::{Sky, ToneMapping};
    let dir = tempfile::tempdir().unwrap();
    let model = sphere(dir.path(), 2_000, 1);
    let (mut control, host) = serving(Some(&model), None).await;
    let mut client = control.connect().await.unwrap();
    sees(&mut client, &model).await;
    show(&mut client, orbit(1, 0.3, SIZE)).await;
    let studio = control.still(None, 640, 360).await;
    assert!(psnr_y(&*last_picture(&mut client).await, &studio) > 32.0);

    let wish = rpc::Look { sky: Sky::Dusk.into(), sky_yaw: 1.0, tone_mapping: ToneMapping::Aces.into() };
    let Ok(Response::Look(told)) = ask(&mut client, Request::SetLook(wish)).await else { panic!() };
    assert_eq!(told, wish);
    // No input is needed to see it, and stills are lit alike.
    let pictured = last_picture(&mut client).await;
    let dusk = control.still(None, 640, 360).await;
    let (like_dusk, like_studio) = (psnr_y(&pictured, &dusk), psnr_y(&pictured, &studio));
    assert!(like_dusk > 32.0 && like_studio < like_dusk - 6.0, "{like_dusk:.1} dB, {like_studio:.1} dB");

    for bad in [
        rpc::Look { sky: 99, ..wish },
        rpc::Look { tone_mapping: -1, ..wish },
        rpc::Look { sky_yaw: f32::NAN, ..wish },
    ] {
        assert_eq!(ask(&mut client, Request::SetLook(bad)).await.unwrap_err().code, "BadRequest");
    }
    assert!(control.still(None, 640, 360).await == dusk, "what is refused changes nothing");

    // Who comes next begins with the default.
    client.close().await;
    control.wait(|heard| matches!(heard, Heard::Json(FromHost::Disconnected { .. })).then_some(())).await;
    let mut next = control.connect().await.unwrap();
    sees(&mut next, &model).await;
    show(&mut next, orbit(1, 0.3, SIZE)).await;
    assert!(control.still(None, 640, 360).await == studio);
    end(control, host).await;
}

#[tokio::test]
async fn a_newer_load_supersedes() {
    let dir = tempfile::tempdir().unwrap();
    sphere(dir.path(), 60_000, 1);
    sphere(dir.path(), 2_000, 2);
    let (mut control, host) = serving(None, Some(dir.path())).await;
    let mut client = control.connect().await.unwrap();
    sees(&mut client, "").await;
    let load = |source: &str| Request::LoadModel(rpc::LoadModel { source: source.to_owned() });
    let slow = client.request(load("sphere-60000-1.glb"));
    let Ok(Response::Scene(info)) = ({
        let fast = client.request(load("sphere-2000-2.glb"));
        let mut superseded = false;
        let body = until(&mut client, |event| match event {
            Event::Message(rpc::HostMessage { request, body: Some(Response::Error(error)) })
                if *request == slow =>
            {
                assert_eq!(error.code, "Superseded");
                superseded = true;
                None
            }
            Event::Message(rpc::HostMessage { request, body: Some(body) }) if *request == fast => {
                Some(body.clone())
            }
            _ => None,
        })
        .await;
        assert!(superseded);
        Ok::<_, ()>(body)
    }) else {
        panic!()
    };
    assert_eq!(info.source, "sphere-2000-2.glb");
    end(control, host).await;
}

#[tokio::test]
async fn the_end_is_told_before_it_comes() {
    let (mut control, host) = serving(None, None).await;
    let mut client = control.connect().await.unwrap();
    until(&mut client, |event| matches!(event, Event::Open).then_some(())).await;
    control.send(&ToHost::End { reason: EndReason::LeaseExpired }).await;
    let reason = until(&mut client, |event| match event {
        Event::Message(rpc::HostMessage { body: Some(Response::Ending(ending)), .. }) => {
            Some(ending.reason())
        }
        _ => None,
    })
    .await;
    assert_eq!(reason, rpc::session_ending::Reason::LeaseExpired);
    until(&mut client, |event| matches!(event, Event::Closed(_)).then_some(())).await;
    joined(host).await.unwrap();
}

#[tokio::test]
async fn media_outlives_the_link() {
    let (mut control, host) = serving(Some("builtin://demo"), None).await;
    let mut client = control.connect().await.unwrap();
    sees(&mut client, "builtin://demo").await;
    show(&mut client, orbit(1, 0.1, SIZE)).await;
    let (mut control, hello) = control.cut().await;
    let FromHost::Hello { serving, .. } = hello else { panic!("{hello:?}") };
    assert_eq!(serving, Some("s-1".parse().unwrap()));
    show(&mut client, orbit(2, 0.2, SIZE)).await;
    // And the new link works.
    control.still(None, 64, 64).await;
    // Without a link, the lease decides.
    control.send(&ToHost::Lease { remaining_ms: 1_500 }).await;
    control.still(None, 64, 64).await;
    control.vanish().await;
    let reason = until(&mut client, |event| match event {
        Event::Message(rpc::HostMessage { body: Some(Response::Ending(ending)), .. }) => {
            Some(ending.reason())
        }
        _ => None,
    })
    .await;
    assert_eq!(reason, rpc::session_ending::Reason::LeaseExpired);
    joined(host).await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_not_known_any_more_ends() {
    let (mut control, host) = serving(None, None).await;
    let mut client = control.connect().await.unwrap();
    until(&mut client, |event| matches!(event, Event::Open).then_some(())).await;
    control.disown().await;
    // Its lease has ten minutes left.
    until(&mut client, |event| matches!(event, Event::Closed(_)).then_some(())).await;
    joined(host).await.unwrap();
}

#[tokio::test]
async fn pings_come_back() {
    let (mut control, host) = serving(None, None).await;
    let mut client = control.connect().await.unwrap();
    until(&mut client, |event| matches!(event, Event::Open).then_some(())).await;
    client.ping(live::Ping { seq: 5, client_time_us: 77 });
    let pong = until(&mut client, |event| match event {
        Event::Pong(pong) => Some(*pong),
        _ => None,
    })
    .await;
    assert_eq!((pong.seq, pong.client_time_us), (5, 77));
    assert!(pong.host_time_us > 0);
    end(control, host).await;
}
