//! Pictures as a client gets them: first frame, frame rate and cost, latency.

use std::collections::VecDeque;
use std::f32::consts::TAU;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use client::live::{Client, Event, Options};
use convert::samples;
use protocol::SessionId;
use protocol::live::rpc::{HostMessage, LoadModel, client_message, host_message};
use protocol::live::{Camera, Input};
use scene::math::{Quat, Vec3};
use serde_json::Value;

use crate::Tools;
use crate::raster::looking;
use crate::server::{Server, cpu_ms};
use crate::sessions::until_ready;
use crate::table::Table;

const SIZE: (u16, u16) = (1280, 720);

/// What is measured, and its file.
const MODELS: [(&str, &str); 2] = [("100 k", "100k.glb"), ("1 M", "1m.glb")];

/// How long one frame rate is measured.
const RUN: Duration = Duration::from_secs(8);

/// Nothing may take longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures with the native client, which decodes every picture.
pub(crate) fn run(tools: &Tools, table: &mut Table) -> Result<()> {
    let models = write_models(tools)?;
    let server = Server::start(tools, &["--models", models.to_str().context("a UTF-8 path")?])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for (name, source) in [("demo", "builtin://demo"), MODELS[0], MODELS[1]] {
            let mut times = Vec::new();
            for at in 0..5 {
                // The pool refills.
                tokio::time::sleep(Duration::from_secs(1)).await;
                let id: SessionId =
                    format!("first-{}-{at}", source.replace(|c: char| !c.is_alphanumeric(), "")).parse()?;
                times.push(first_picture(&server, &id, source).await?);
                server.client()?.stop(&id).await?;
            }
            table.add(format!("create → first decoded picture, {name} triangles"), "ms", &times, "");
        }
        for (name, source) in MODELS {
            let id: SessionId = format!("fps-{}", &source[..2]).parse()?;
            orbit(&server, &id, name, source, table).await?;
            server.client()?.stop(&id).await?;
        }
        Ok(())
    })
}

/// A client of a session with the model on screen.
struct Shown {
    client: Client,
    /// Centre of the model and a start position of the camera.
    target: Vec3,
    eye: Vec3,
}

impl Shown {
    /// Connects to a Ready session and loads the model.
    async fn open(server: &Server, id: &SessionId, source: &str) -> Result<Self> {
        let mut client = Client::connect(&live_options(server, id).await?).await?;
        let mut wanted = None;
        loop {
            match next(&mut client).await? {
                Event::Open => {
                    let body = client_message::Body::LoadModel(LoadModel { source: source.to_owned() });
                    wanted = Some(client.request(body));
                }
                Event::Message(HostMessage { request, body: Some(host_message::Body::Scene(scene)) })
                    if Some(request) == wanted =>
                {
                    let corner = |corner: Option<protocol::live::rpc::Vec3>| {
                        corner.map(|v| Vec3::new(v.x, v.y, v.z)).context("the model has bounds")
                    };
                    let bounds =
                        scene::Aabb { min: corner(scene.bounds_min)?, max: corner(scene.bounds_max)? };
                    let aspect = f32::from(SIZE.0) / f32::from(SIZE.1);
                    let (eye, _orientation, _fov) = render::frame_camera(Some(bounds), aspect);
                    return Ok(Self { client, target: bounds.center(), eye });
                }
                Event::Message(HostMessage { request, body: Some(host_message::Body::Error(error)) })
                    if Some(request) == wanted =>
                {
                    bail!("{source}: {}: {}", error.code, error.message);
                }
                _ => (),
            }
        }
    }

    /// Looks from a place on the orbit, as input number `seq`.
    fn look(&self, seq: u32, turn: f32) {
        let eye = self.target + Quat::from_rotation_y(turn) * (self.eye - self.target);
        let camera = Camera {
            eye: eye.to_array(),
            orientation: looking(eye, self.target).to_array(),
            fov_y: std::f32::consts::FRAC_PI_4,
        };
        self.client.send_input(Input { seq, client_time_us: 0, camera, width: SIZE.0, height: SIZE.1 });
    }
}

async fn live_options(server: &Server, id: &SessionId) -> Result<Options> {
    let rest = server.client()?;
    Ok(Options {
        endpoint: rest.options().endpoint.clone(),
        account: rest.options().account,
        session: id.clone(),
        token: rest.token().await?,
        ca_pem: rest.options().ca_pem.clone(),
    })
}

async fn next(client: &mut Client) -> Result<Event> {
    let event = tokio::time::timeout(PATIENCE, client.next()).await.context("the host fell silent")?;
    match event.context("the connection ended")? {
        Event::Closed(reason) => bail!("the connection ended: {reason:?}"),
        event => Ok(event),
    }
}

/// Milliseconds from the create request to the first decoded picture of the model.
async fn first_picture(server: &Server, id: &SessionId, source: &str) -> Result<f64> {
    let rest = server.client()?;
    rest.token().await?;
    let began = Instant::now();
    until_ready(&rest, id).await?;
    let mut shown = Shown::open(server, id, source).await?;
    shown.look(1, 0.0);
    loop {
        if let Event::Picture(picture) = next(&mut shown.client).await?
            && picture.meta.is_some_and(|meta| meta.input_seq == 1 && meta.triangles > 0)
        {
            break;
        }
    }
    let took = began.elapsed().as_secs_f64() * 1e3;
    shown.client.close().await;
    Ok(took)
}

/// Orbits as fast as pictures come: frame rate, host CPU per frame, input → decoded.
async fn orbit(server: &Server, id: &SessionId, name: &str, source: &str, table: &mut Table) -> Result<()> {
    until_ready(&server.client()?, id).await?;
    let before = server.hosts()?;
    let mut shown = Shown::open(server, id, source).await?;
    let (mut seq, mut sent) = (0_u32, VecDeque::new());
    let (mut latencies, mut rates, mut n_frames) = (Vec::new(), Vec::new(), 0_u32);
    let cpu_of_all = || before.iter().filter_map(|pid| cpu_ms(*pid).ok()).sum::<f64>();
    let mut tick = tokio::time::interval(Duration::from_micros(8_333));
    let (began, cpu_before) = (Instant::now(), cpu_of_all());
    let mut second = (Instant::now(), 0_u32);
    while began.elapsed() < RUN {
        tokio::select! {
            // 120 inputs a second, as a fast mouse gives; the host takes the newest when it is ready for one.
            _ = tick.tick() => {
                seq += 1;
                shown.look(seq, seq as f32 / 1200.0 * TAU);
                sent.push_back((seq, Instant::now()));
            }
            event = shown.client.next() => match event {
                Some(Event::Picture(picture)) => {
                    n_frames += 1;
                    second.1 += 1;
                    let Some(meta) = picture.meta else { continue };
                    while sent.front().is_some_and(|(seq, _)| *seq < meta.input_seq) {
                        sent.pop_front();
                    }
                    if let Some((seq, at)) = sent.front() && *seq == meta.input_seq {
                        latencies.push(picture.decoded_at.duration_since(*at).as_secs_f64() * 1e3);
                        sent.pop_front();
                    }
                }
                None | Some(Event::Closed(_)) => bail!("the connection ended"),
                Some(_) => (),
            }
        }
        if second.0.elapsed() >= Duration::from_secs(1) {
            rates.push(f64::from(second.1) / second.0.elapsed().as_secs_f64());
            second = (Instant::now(), 0);
        }
    }
    let cpu = (cpu_of_all() - cpu_before) / f64::from(n_frames.max(1));
    shown.client.close().await;
    table.add(format!("frames a second end to end, {name} triangles, 720p"), "fps", &rates, "≥ 30 at 1 M");
    table.add(format!("host CPU per frame, {name} triangles, 720p"), "ms", &[cpu], "");
    table.add(format!("input → decoded picture, {name} triangles, 720p"), "ms", &latencies, "");
    Ok(())
}

/// Measures in Chromium, by `web/e2e/bench.mjs`.
pub(crate) fn browser(tools: &Tools, table: &mut Table) -> Result<()> {
    let models = write_models(tools)?;
    for (name, file) in MODELS {
        let out = Command::new("node")
            .args(["e2e/bench.mjs", "--model", file, "--models"])
            .arg(&models)
            .current_dir(tools.root.join("web"))
            .env("BELVEDERE_BIN", &tools.belvedere)
            .output()?;
        if !out.status.success() {
            bail!("web/e2e/bench.mjs: {}", String::from_utf8_lossy(&out.stderr));
        }
        let result: Value = serde_json::from_slice(&out.stdout).context("what bench.mjs prints")?;
        let orbit = &result["orbit"];
        table.add_summary(
            format!("Chromium: create → model on screen, {name}"),
            "ms",
            &result["createToModelMs"],
            "",
        );
        table.add_summary(
            format!("Chromium: input → frame, {name}, 720p"),
            "ms",
            &orbit["inputToFrameMs"],
            "",
        );
        let promise = if name == "1 M" { "p50 ≤ 25, p95 ≤ 40" } else { "p50 ≤ 16" };
        let picture = &orbit["inputToPictureMs"];
        table.add_summary(
            format!("Chromium: input → picture in the page, {name}, 720p"),
            "ms",
            picture,
            promise,
        );
        let screen = &orbit["inputToPhotonMs"];
        table.add_summary(format!("Chromium: input → expected on screen, {name}, 720p"), "ms", screen, "");
        let fps = orbit["presentedPerSecond"].as_f64().context("presentedPerSecond")?;
        table.add(format!("Chromium: frames shown a second, {name}, 720p"), "fps", &[fps], "");
    }
    Ok(())
}

/// Writes the models that sessions load; gives their folder.
fn write_models(tools: &Tools) -> Result<PathBuf> {
    let models = tools.out.join("bench-models");
    std::fs::create_dir_all(&models)?;
    for ((_name, file), n_triangles) in MODELS.into_iter().zip([100_000, 1_000_000]) {
        std::fs::write(models.join(file), samples::bumpy_sphere(n_triangles, 1))?;
    }
    Ok(models)
}
