//! Still pictures, on a thread and a renderer of their own so that the video goes on meanwhile.

use std::io::Cursor;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use render::{REFINE_SAMPLES, Renderer, View};
use tokio::sync::mpsc;
use tracing::Span;

use crate::limits::STILLS;
use crate::scenes::Scene;
use crate::session::News;

pub(crate) struct StillOrder {
    /// The link's request number.
    pub(crate) request: u64,
    pub(crate) scene: Arc<Scene>,
    pub(crate) view: View,
    /// Ends with it.
    pub(crate) span: Span,
}

pub(crate) struct StillNews {
    pub(crate) request: u64,
    /// A PNG, or why not, in words.
    pub(crate) result: Result<Vec<u8>, String>,
}

/// Starts its thread with the first order.
pub(crate) struct Stills {
    n_threads: NonZeroUsize,
    orders: Option<SyncSender<StillOrder>>,
}

impl Stills {
    /// Stills that are drawn by `n_threads` threads, started with the first.
    pub(crate) fn new(n_threads: NonZeroUsize) -> Self {
        Self { n_threads, orders: None }
    }

    /// Takes an order; false if too many wait.
    pub(crate) fn order(&mut self, order: StillOrder, news: &mpsc::Sender<News>) -> bool {
        if self.orders.is_none() {
            let (sender, receiver) = sync_channel(STILLS);
            let (news, n_threads) = (news.clone(), self.n_threads);
            let thread = std::thread::Builder::new()
                .name("host-stills".into())
                .spawn(move || work(&receiver, &news, n_threads));
            if thread.is_err() {
                return false;
            }
            self.orders = Some(sender);
        }
        self.orders.as_ref().is_some_and(|orders| orders.try_send(order).is_ok())
    }
}

fn work(orders: &Receiver<StillOrder>, news: &mpsc::Sender<News>, n_threads: NonZeroUsize) {
    let mut renderer = Renderer::new(n_threads);
    while let Ok(StillOrder { request, scene, view, span }) = orders.recv() {
        let _in_it = span.entered();
        let drawn = catch_unwind(AssertUnwindSafe(|| renderer.still(&scene.render, &view, REFINE_SAMPLES)));
        let result = match drawn {
            Ok(rgba) => png(view.width, view.height, &rgba),
            Err(_panic) => {
                renderer = Renderer::new(n_threads);
                Err("the renderer failed".to_owned())
            }
        };
        if news.blocking_send(News::Still(StillNews { request, result })).is_err() {
            return;
        }
    }
}

/// RGBA8, rows from the top, as an opaque PNG in sRGB.
fn png(width: u32, height: u32, rgba: &[u8]) -> Result<Vec<u8>, String> {
    let rgb: Vec<u8> = rgba.chunks_exact(4).flat_map(|texel| [texel[0], texel[1], texel[2]]).collect();
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
    let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
    writer.write_image_data(&rgb).map_err(|error| error.to_string())?;
    writer.finish().map_err(|error| error.to_string())?;
    Ok(bytes.into_inner())
}
