//! How a scene is lit by its surroundings, and how its light becomes colours.

/// Part of a [`View`](crate::View). The default is a studio with Khronos PBR Neutral.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Look {
    /// The surroundings. They light the model; the background of pictures stays a neutral grey.
    pub sky: Sky,
    /// Turns the surroundings around +y, counter-clockwise seen from above; radians. What is not finite counts as 0.
    pub sky_yaw: f32,
    /// What becomes of light beyond what a screen can show.
    pub tone_mapping: ToneMapping,
}

/// Surroundings that we make up. Their light is about 0.5 to 1 on average, so that one exposure fits all. The first
/// picture with each takes some 0.1 s longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sky {
    /// A photographer's: softboxes around, brighter above.
    #[default]
    Studio,
    /// Blue sky and a high sun.
    Day,
    /// Clouds all over: soft light from above, no highlights.
    Overcast,
    /// A low, warm sun and a dark sky.
    Dusk,
    /// White light of 1 from everywhere: what a surface reflects is its reflectance.
    Even,
}

impl Sky {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Studio, Self::Day, Self::Overcast, Self::Dusk, Self::Even];
}

/// From scene light to displayable light. Unlit colours and the background are never mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToneMapping {
    /// Khronos PBR Neutral: base colours come out as they are, highlights fade to white.
    #[default]
    Neutral,
    /// ACES as fitted by Stephen Hill, with the exposure that three.js and others give it: more contrast, like film.
    Aces,
    /// As it is, cut off at 1: for measuring.
    Clipped,
}

/// How fine frames in motion are; those at rest are always full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MotionDetail {
    /// As a moving eye can see. Where surfaces are smooth and neighbours alike, every other pixel is shaded and the rest lies
    /// between.
    #[default]
    Full,
    /// The same however much neighbours differ; and surfaces are up to three times as far from where they should be. Quicker
    /// by up to a third where textures are full of detail, elsewhere by little.
    Coarse,
}
