//! The outer layer: GLB chunks or plain text, told by content.

use crate::{Fault, Limits, warnings::Warnings};

const MAGIC: &[u8; 4] = b"glTF";
const CHUNK_JSON: u32 = 0x4E4F_534A;
const CHUNK_BIN: u32 = 0x004E_4942;

/// JSON text and, in a GLB, the binary chunk.
#[derive(Debug)]
pub(super) struct Container<'a> {
    pub(super) json: &'a str,
    pub(super) bin: Option<&'a [u8]>,
}

/// Takes a file apart. glTF 2.0, section 4 ("GLB File Format Specification").
pub(super) fn open<'a>(
    bytes: &'a [u8],
    limits: &Limits,
    warnings: &mut Warnings,
) -> Result<Container<'a>, Fault> {
    if bytes.is_empty() {
        return Err(Fault::damaged("byte 0", "the file is empty"));
    }
    let (json, bin) = if bytes.starts_with(MAGIC) { glb(bytes, warnings)? } else { (bytes, None) };
    if json.len() > limits.json_bytes {
        let problem = format!("{} bytes of JSON, {} are allowed", json.len(), limits.json_bytes);
        return Err(Fault::too_large("JSON", problem));
    }
    let json = match json.strip_prefix(b"\xEF\xBB\xBF") {
        Some(rest) => {
            warnings.say("The JSON starts with a byte order mark, which glTF forbids; it was skipped.");
            rest
        }
        None => json,
    };
    let start = json.iter().find(|byte| !byte.is_ascii_whitespace());
    if bin.is_none() && start != Some(&b'{') && !bytes.starts_with(MAGIC) {
        let problem = "neither GLB (it would start with \"glTF\") nor JSON (it would start with \"{\"); \
                       export the model as glTF 2.0";
        return Err(Fault::damaged("byte 0", problem));
    }
    let json = std::str::from_utf8(json)
        .map_err(|e| Fault::damaged(format!("JSON, byte {}", e.valid_up_to()), "the text is not UTF-8"))?;
    Ok(Container { json, bin })
}

fn glb<'a>(bytes: &'a [u8], warnings: &mut Warnings) -> Result<(&'a [u8], Option<&'a [u8]>), Fault> {
    let (Some(version), Some(length)) = (u32_at(bytes, 4), u32_at(bytes, 8)) else {
        return Err(Fault::damaged("GLB header", "the file ends within its 12-byte header"));
    };
    match version {
        2 => (),
        1 => return Err(old_version("GLB version 1 (glTF 1.0)")),
        _ => {
            return Err(Fault::Unsupported {
                what: format!("GLB version {version}"),
                advice: "export the model as glTF 2.0".to_owned(),
            });
        }
    }
    let length = length as usize;
    if length > bytes.len() {
        let problem =
            format!("says {length} bytes, but the file has only {}; it may have been cut", bytes.len());
        return Err(Fault::damaged("GLB header, length", problem));
    }
    if length < bytes.len() {
        let n = bytes.len() - length;
        warnings.say(format!("{n} bytes after the end that the GLB header gives were ignored."));
    }
    let bytes = &bytes[..length];
    let (kind, json, mut at) = chunk(bytes, 12, "first chunk", warnings)?
        .ok_or_else(|| Fault::damaged("GLB header, length", "leaves no room for the JSON chunk"))?;
    if kind != CHUNK_JSON {
        return Err(Fault::damaged("GLB, first chunk", "is not of type JSON"));
    }
    // The second chunk is BIN or absent; others follow it, but unknown ones are skipped wherever they are.
    while let Some((kind, content, next)) = chunk(bytes, at, "BIN chunk", warnings)? {
        if kind == CHUNK_BIN {
            return Ok((json, Some(content)));
        }
        at = next;
    }
    Ok((json, None))
}

/// Type, content, and where the next one starts.
type Chunk<'a> = (u32, &'a [u8], usize);

/// The chunk at `at`; `None` at the end.
fn chunk<'a>(
    bytes: &'a [u8],
    at: usize,
    name: &str,
    warnings: &mut Warnings,
) -> Result<Option<Chunk<'a>>, Fault> {
    let (Some(length), Some(kind)) = (u32_at(bytes, at), u32_at(bytes, at + 4)) else {
        if at < bytes.len() {
            warnings.say(format!("{} bytes after the last GLB chunk were ignored.", bytes.len() - at));
        }
        return Ok(None);
    };
    let start = at + 8;
    let end = start.checked_add(length as usize).filter(|end| *end <= bytes.len());
    let Some(end) = end else {
        let problem = format!("says {length} bytes, but only {} are left", bytes.len() - start);
        return Err(Fault::damaged(format!("GLB, {name}, length"), problem));
    };
    // Writers that do not pad put the next chunk right behind; the specification wants multiples of 4.
    if length % 4 != 0 {
        warnings.say(format!("The length of the GLB's {name} is not a multiple of 4."));
    }
    Ok(Some((kind, &bytes[start..end], end)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes)
}

/// glTF 1.0 is another format.
pub(super) fn old_version(what: &str) -> Fault {
    Fault::Unsupported {
        what: what.to_owned(),
        advice: "convert the model to glTF 2.0, for example by importing and exporting it in Blender"
            .to_owned(),
    }
}

/// Refuses JSON whose nesting or number of objects would cost more memory than it is worth, before it is parsed.
pub(super) fn survey(json: &str, limits: &Limits) -> Result<(), Fault> {
    let (mut depth, mut n_objects, mut n_values) = (0_usize, 0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in json.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => (),
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                n_objects += usize::from(byte == b'{');
                if depth > limits.json_depth {
                    let problem = format!("nested deeper than {} levels", limits.json_depth);
                    return Err(Fault::too_large(format!("JSON, byte {at}"), problem));
                }
            }
            b',' => n_values += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => (),
        }
    }
    for (what, n, limit) in
        [("objects", n_objects, limits.json_objects), ("values", n_values, limits.json_values)]
    {
        if n > limit {
            return Err(Fault::too_large("JSON", format!("{n} {what}, {limit} are allowed")));
        }
    }
    Ok(())
}
