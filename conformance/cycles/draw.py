"""Draws glTF models with Cycles, Blender's path tracer.

python3 draw.py JOBS.json, made by `cargo xtask compare`. Writes linear RGBA as 32-bit floats, rows from the top,
alpha multiplied in.

A job without "occlusion" lets light through the model itself: what remains is materials and light, as a renderer
without shadows and bounces draws them.
"""

import json
import os
import sys

import bpy
import numpy
from mathutils import Matrix


def read_image(path, to):
    image = bpy.data.images.load(path)
    width, height = image.size
    pixels = numpy.empty(width * height * 4, dtype=numpy.float32)
    image.pixels.foreach_get(pixels)
    pixels.reshape(height, width, 4)[::-1].tofile(to)
    bpy.data.images.remove(image)


def write_sky(job, to):
    """The surroundings as an equirectangular EXR."""
    width, height = job["sky_size"]
    rgb = numpy.fromfile(job["sky"], dtype="<f4").reshape(height, width, 3)
    rgba = numpy.ones((height, width, 4), dtype=numpy.float32)
    rgba[..., :3] = rgb
    image = bpy.data.images.new("sky", width, height, alpha=False, float_buffer=True)
    # Otherwise saving would encode them.
    image.colorspace_settings.name = "Non-Color"
    image.pixels.foreach_set(rgba.ravel())
    image.filepath_raw = to
    image.file_format = "OPEN_EXR"
    image.save()
    saved = numpy.empty(rgba.size, dtype=numpy.float32)
    bpy.data.images.load(to).pixels.foreach_get(saved)
    assert numpy.allclose(saved, rgba.ravel(), rtol=0.01, atol=0.01), "Blender reads another sky than it wrote"


def light_from(sky):
    world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    nodes = world.node_tree.nodes
    texture = nodes.new("ShaderNodeTexEnvironment")
    texture.image = bpy.data.images.load(sky)
    world.node_tree.links.new(texture.outputs["Color"], nodes["Background"].inputs["Color"])
    world.cycles.sampling_method = "MANUAL"
    world.cycles.sample_map_resolution = 1024
    bpy.context.scene.world = world


def draw(job, sky, n_samples):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    bpy.ops.import_scene.gltf(filepath=job["model"])
    for thing in list(scene.objects):
        if thing.type in ("LIGHT", "CAMERA"):
            bpy.data.objects.remove(thing)
        elif not job["occlusion"]:
            thing.visible_diffuse = thing.visible_glossy = thing.visible_shadow = False
    light_from(sky)

    camera = bpy.data.cameras.new("camera")
    camera.sensor_fit = "VERTICAL"
    camera.angle = job["fov_y"]
    camera.clip_start, camera.clip_end = job["near"], job["far"]
    eye = bpy.data.objects.new("camera", camera)
    eye.matrix_world = Matrix(job["world_from_camera"])
    scene.collection.objects.link(eye)
    scene.camera = eye

    render = scene.render
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y = job["size"]
    render.resolution_percentage = 100
    render.film_transparent = True
    render.image_settings.file_format = "OPEN_EXR"
    render.image_settings.color_depth = "32"
    render.image_settings.color_mode = "RGBA"
    render.filepath = job["to"] + ".exr"
    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples = n_samples
    cycles.use_adaptive_sampling = False
    # Noise would count as a difference.
    cycles.use_denoising = True
    cycles.denoiser = "OPENIMAGEDENOISE"
    cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
    cycles.pixel_filter_type = "BOX"
    cycles.sample_clamp_indirect = 0
    cycles.blur_glossy = 0
    cycles.seed = 1
    bpy.ops.render.render(write_still=True)
    read_image(job["to"] + ".exr", job["to"])


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        jobs = json.load(file)
    sky = os.path.join(os.path.dirname(sys.argv[1]), "sky.exr")
    write_sky(jobs, sky)
    for job in jobs["pictures"]:
        draw(job, sky, jobs["samples"])


if __name__ == "__main__":
    main()
