"""VTK as the peer of the raster bench: the same mesh, cameras and size, offscreen, one picture per line of input.

Usage: vtk_peer.py MESH WIDTH HEIGHT. MESH is little-endian: u32 vertices, u32 indices, positions and normals as f32
triples, indices as u32. Each input line is `ex ey ez tx ty tz fov_y_degrees near far`; each output line is `wall_ms cpu_ms`.
With a tenth word, a path, the picture is also written there as PNG.
"""

import resource
import sys
import time

import numpy
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray


def poly_data(path):
    raw = numpy.fromfile(path, dtype="<u4")
    vertices, indices = int(raw[0]), int(raw[1])
    floats = raw[2:2 + 6 * vertices].view("<f4").reshape(2, vertices, 3)
    triangles = raw[2 + 6 * vertices:].reshape(indices // 3, 3).astype(numpy.int64)
    cells = vtk.vtkCellArray()
    threes = numpy.full((len(triangles), 1), 3, numpy.int64)
    cells.SetCells(len(triangles), numpy_to_vtkIdTypeArray(numpy.hstack([threes, triangles]).ravel(), deep=True))
    points = vtk.vtkPoints()
    points.SetData(numpy_to_vtk(floats[0], deep=True))
    mesh = vtk.vtkPolyData()
    mesh.SetPoints(points)
    mesh.SetPolys(cells)
    mesh.GetPointData().SetNormals(numpy_to_vtk(floats[1], deep=True))
    return mesh


def cpu_ms():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (usage.ru_utime + usage.ru_stime) * 1e3


def main():
    path, width, height = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputData(poly_data(path))
    mapper.ScalarVisibilityOff()
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    actor.GetProperty().BackfaceCullingOn()
    renderer = vtk.vtkRenderer()
    renderer.AddActor(actor)
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetSize(width, height)
    window.AddRenderer(renderer)
    camera = renderer.GetActiveCamera()
    for line in sys.stdin:
        words = line.split()
        numbers = [float(word) for word in words[:9]]
        camera.SetPosition(numbers[0:3])
        camera.SetFocalPoint(numbers[3:6])
        camera.SetViewUp(0, 1, 0)
        camera.SetViewAngle(numbers[6])
        camera.SetClippingRange(numbers[7:9])
        cpu, wall = cpu_ms(), time.perf_counter()
        window.Render()
        window.WaitForCompletion()
        wall, cpu = (time.perf_counter() - wall) * 1e3, cpu_ms() - cpu
        print(f"{wall:.4f} {cpu:.4f}", flush=True)
        if len(words) > 9:
            shot = vtk.vtkWindowToImageFilter()
            shot.SetInput(window)
            writer = vtk.vtkPNGWriter()
            writer.SetFileName(words[9])
            writer.SetInputConnection(shot.GetOutputPort())
            writer.Write()


main()
