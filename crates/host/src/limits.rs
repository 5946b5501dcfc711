//! Every bound of the host, with its reason.

use std::time::Duration;

/// Models kept ready, so that a reloaded page shows its model at once. Each may take hundreds of MB.
pub(crate) const CACHED_SCENES: usize = 3;

/// Picks waiting for the frame thread; each is a few milliseconds.
pub(crate) const PICKS: usize = 16;

/// Stills waiting for their thread; each is up to seconds.
pub(crate) const STILLS: usize = 4;

/// News from threads to the session: frames come one at a time, progress is dropped when full.
pub(crate) const NEWS: usize = 64;

/// Messages waiting for the link.
pub(crate) const LINK_QUEUE: usize = 64;

/// Datagrams that the socket did not take at once: two key frames.
pub(crate) const UNSENT_DATAGRAMS: usize = 1024;

/// Datagrams read before the session looks at other things.
pub(crate) const DATAGRAMS_PER_TURN: usize = 64;

/// A key frame at 1080p is a burst of some 300 datagrams; the default of 208 KiB lost parts of it.
pub(crate) const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Below this, a picture of a model says nothing.
pub(crate) const MIN_BITRATE_BPS: u32 = 300_000;

/// What of the estimated bandwidth goes to video: the rest is for resends, messages and overshoot.
pub(crate) const BITRATE_SHARE_PERCENT: u64 = 85;

/// A new size is a key frame: at most this often while somebody drags a window's edge.
pub(crate) const RESIZE_INTERVAL: Duration = Duration::from_millis(250);

/// After connecting, the first picture waits this long for the client's camera and size.
pub(crate) const FIRST_INPUT: Duration = Duration::from_millis(50);

/// A camera at rest for this long gets better pictures.
pub(crate) const REST: Duration = Duration::from_millis(80);

/// Between two of them: half of a core at most, and no jam on a slow link.
pub(crate) const REFINE_INTERVAL: Duration = Duration::from_millis(33);

/// Pictures after motion until the encoder has converged (45 → 53 dB) on most pictures, then silence.
pub(crate) const REST_PICTURES: u32 = 12;

/// A picture full of fine detail takes longer: up to so many pictures, two seconds.
pub(crate) const REST_PICTURES_MAX: u32 = 60;

/// An encoder that has converged says nothing new: fewer than one byte for so many pixels (1.8 kB at 720p).
pub(crate) const CONVERGED_PIXELS_PER_BYTE: u32 = 500;

/// How long a goodbye may take to reach the client.
pub(crate) const GOODBYE: Duration = Duration::from_millis(300);

/// How long the last words may take to reach the control plane.
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(200);

/// A host without session and without link waits this long.
pub(crate) const WARM_WITHOUT_LINK: Duration = Duration::from_secs(10);

/// Waits between attempts to open the link, doubling.
pub(crate) const REDIAL_MIN: Duration = Duration::from_millis(50);
pub(crate) const REDIAL_MAX: Duration = Duration::from_secs(1);

/// The control plane says something at least every two seconds; a link that is silent for so long is dead, and a host
/// that believed in it would outlive its lease.
pub(crate) const LINK_SILENCE: Duration = Duration::from_secs(7);

/// One attempt to open the link.
pub(crate) const DIAL: Duration = Duration::from_secs(5);

/// Models listed, of so many directory entries looked at, so deep.
pub(crate) const LISTED_MODELS: usize = 999;
pub(crate) const LISTED_ENTRIES: usize = 20_000;
pub(crate) const LISTED_DEPTH: usize = 8;

/// Longest name of a model that a client may send.
pub(crate) const SOURCE_BYTES: usize = 4096;

/// Without video for this long, a request for a key frame is about the silence. Chromium's comes after 3 s; one about a
/// broken frame within some round trips of it.
pub(crate) const SILENCE: Duration = Duration::from_millis(2500);
