"""VTK as a peer of the raster bench: offscreen, one picture per line of input, read back into memory.

Usage: vtk_peer.py SCENE.json, as `src/raster/scene.rs` writes it. The first output line says what is shown and by whom.
Each input line asks for a picture, each output line says how long it took until its pixels were in memory; both are JSON.

Textured and plain: VTK's physically based shading in the scene's environment. Lamp: its usual shading with the light that
it makes by itself, at the camera.
"""

import json
import sys
import time

import numpy
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy


def poly_data(path):
    raw = numpy.memmap(path, dtype="<u4", mode="r")
    vertices, indices = int(raw[0]), int(raw[1])
    floats, at = {}, 2
    for name, width in [("positions", 3), ("normals", 3), ("uv", 2), ("tangents", 4)]:
        floats[name] = raw[at:at + width * vertices].view("<f4").reshape(vertices, width)
        at += width * vertices
    cells = vtk.vtkCellArray()
    cells.SetData(3, numpy_to_vtkIdTypeArray(raw[at:at + indices].astype(numpy.int64), deep=True))

    def array(values, name):
        made = numpy_to_vtk(numpy.ascontiguousarray(values), deep=True)
        made.SetName(name)
        return made

    points = vtk.vtkPoints()
    points.SetData(array(floats["positions"], "positions"))
    mesh = vtk.vtkPolyData()
    mesh.SetPoints(points)
    mesh.SetPolys(cells)
    mesh.GetPointData().SetNormals(array(floats["normals"], "normals"))
    mesh.GetPointData().SetTCoords(array(floats["uv"], "uv"))
    mesh.GetPointData().SetTangents(array(floats["tangents"][:, :3], "tangents"))
    return mesh


def texture(image, dtype, channels):
    size = (image["width"], image["height"])
    texels = numpy.fromfile(image["path"], dtype=dtype).reshape(size[0] * size[1], channels)
    made = vtk.vtkImageData()
    made.SetDimensions(*size, 1)
    made.GetPointData().SetScalars(numpy_to_vtk(numpy.ascontiguousarray(texels[:, :3]), deep=True))
    texture = vtk.vtkTexture()
    texture.SetInputData(made)
    texture.SetColorModeToDirectScalars()
    texture.InterpolateOn()
    texture.MipmapOn()
    texture.RepeatOn()
    return texture


class Stage:
    """A window with the mesh in one material."""

    def __init__(self, scene, mesh, kind):
        mapper = vtk.vtkPolyDataMapper()
        mapper.SetInputData(mesh)
        mapper.ScalarVisibilityOff()
        actor = vtk.vtkActor()
        actor.SetMapper(mapper)
        look = actor.GetProperty()
        look.BackfaceCullingOn()
        self.renderer = vtk.vtkRenderer()
        look.SetColor(*scene["plain_color"])
        if kind == "textured":
            look.SetColor(1, 1, 1)
            base = texture(scene["base"], "u1", 4)
            base.UseSRGBColorSpaceOn()
            look.SetBaseColorTexture(base)
            look.SetORMTexture(texture(scene["rough"], "u1", 4))
            look.SetNormalTexture(texture(scene["normal"], "u1", 4))
            look.SetNormalScale(scene["normal_scale"])
        if kind != "lamp":
            look.SetInterpolationToPBR()
            look.SetMetallic(1 if kind == "textured" else 0)
            look.SetRoughness(1 if kind == "textured" else scene["plain_roughness"])
            self.renderer.AutomaticLightCreationOff()
            self.renderer.UseImageBasedLightingOn()
            self.renderer.SetEnvironmentTexture(texture(scene["environment"], "<f4", 3))
            # Made once, before anything is timed; the default takes a software renderer minutes.
            prefiltered = self.renderer.GetEnvMapPrefiltered()
            prefiltered.SetPrefilterMaxSamples(64)
        self.renderer.AddActor(actor)
        # A blue that no model has: what differs is covered.
        self.renderer.SetBackground(0, 0, 1)
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.AddRenderer(self.renderer)
        self.pixels = vtk.vtkUnsignedCharArray()

    def draw(self, ask):
        width, height = ask["width"], ask["height"]
        self.window.SetSize(width, height)
        camera = self.renderer.GetActiveCamera()
        camera.SetPosition(ask["eye"])
        camera.SetFocalPoint(ask["target"])
        camera.SetViewUp(0, 1, 0)
        camera.SetViewAngle(ask["fov_y_deg"])
        camera.SetClippingRange(ask["near"], ask["far"])
        began = time.perf_counter()
        self.window.Render()
        self.window.GetRGBACharPixelData(0, 0, width - 1, height - 1, 0, self.pixels)
        wall = (time.perf_counter() - began) * 1e3
        if ask["save"]:
            vtk_to_numpy(self.pixels).tofile(ask["save"])
        return wall


def main():
    # It warns that there is no display, and renders without.
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_ERROR)
    with open(sys.argv[1], encoding="utf-8") as file:
        scene = json.load(file)
    mesh = poly_data(scene["mesh"])
    stages = {}
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.AddRenderer(vtk.vtkRenderer())
    window.Render()
    lines = window.ReportCapabilities().splitlines()
    renderer = next((line.split(":", 1)[1].strip() for line in lines if "renderer string" in line), "unknown")
    del window
    about = f"VTK {vtk.vtkVersion.GetVTKVersion()}, {renderer}"
    print(json.dumps({"triangles": mesh.GetNumberOfPolys(), "about": about}), flush=True)
    for line in sys.stdin:
        ask = json.loads(line)
        if ask["look"] not in stages:
            # One at a time: each window keeps its own copy of the mesh.
            stages.clear()
            stages[ask["look"]] = Stage(scene, mesh, ask["look"])
        print(json.dumps({"wall_ms": stages[ask["look"]].draw(ask)}), flush=True)


main()
