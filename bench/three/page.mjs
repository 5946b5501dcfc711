// Draws with three.js into a canvas that no page shows: nothing but the drawing costs time.
//
// Textured and plain: a MeshStandardMaterial in the scene's environment. Lamp: the plain one with a light at the camera.
import * as THREE from "three";

let renderer;
let camera;
let pixels = new Uint8Array();
const stages = {};

async function bytes(path) {
  return (await fetch(path)).arrayBuffer();
}

async function texture(path, { width, height }, colorSpace) {
  const made = new THREE.DataTexture(new Uint8Array(await bytes(path)), width, height, THREE.RGBAFormat);
  made.wrapS = made.wrapT = THREE.RepeatWrapping;
  made.magFilter = THREE.LinearFilter;
  made.minFilter = THREE.LinearMipmapLinearFilter;
  made.generateMipmaps = true;
  made.colorSpace = colorSpace;
  made.needsUpdate = true;
  return made;
}

async function geometry() {
  const mesh = await bytes("/mesh");
  const [vertices, indices] = new Uint32Array(mesh, 0, 2);
  const made = new THREE.BufferGeometry();
  let at = 8;
  for (const [name, width] of [["position", 3], ["normal", 3], ["uv", 2], ["tangent", 4]]) {
    made.setAttribute(name, new THREE.BufferAttribute(new Float32Array(mesh, at, width * vertices), width));
    at += 4 * width * vertices;
  }
  made.setIndex(new THREE.BufferAttribute(new Uint32Array(mesh, at, indices), 1));
  return made;
}

async function environment({ width, height }) {
  const rgb = new Float32Array(await bytes("/environment"));
  const half = new Uint16Array(width * height * 4);
  for (let i = 0; i < width * height; i += 1) {
    for (let c = 0; c < 3; c += 1) half[i * 4 + c] = THREE.DataUtils.toHalfFloat(rgb[i * 3 + c]);
    half[i * 4 + 3] = THREE.DataUtils.toHalfFloat(1);
  }
  const map = new THREE.DataTexture(half, width, height, THREE.RGBAFormat, THREE.HalfFloatType);
  map.mapping = THREE.EquirectangularReflectionMapping;
  map.magFilter = map.minFilter = THREE.LinearFilter;
  map.needsUpdate = true;
  return new THREE.PMREMGenerator(renderer).fromEquirectangular(map).texture;
}

window.start = async (scene) => {
  renderer = new THREE.WebGLRenderer({ antialias: false });
  renderer.toneMapping = THREE.NeutralToneMapping;
  // A blue that no model has: what differs is covered.
  renderer.setClearColor(0x0000ff);
  camera = new THREE.PerspectiveCamera();
  const shape = await geometry();

  const color = new THREE.Color(...scene.plain_color);
  const material = () => new THREE.MeshStandardMaterial({ color, roughness: scene.plain_roughness, metalness: 0 });
  const plain = new THREE.Scene();
  plain.add(new THREE.Mesh(shape, material()));
  const lamp = new THREE.Scene();
  lamp.add(new THREE.Mesh(shape, material()));
  // A directional light shines from its place towards the middle of the world: at the camera's place, see `draw`.
  lamp.add(new THREE.DirectionalLight(0xffffff, 3));

  const textured = new THREE.Scene();
  const rough = await texture("/rough", scene.rough, THREE.NoColorSpace);
  textured.add(
    new THREE.Mesh(
      shape,
      new THREE.MeshStandardMaterial({
        map: await texture("/base", scene.base, THREE.SRGBColorSpace),
        roughness: 1,
        roughnessMap: rough,
        metalness: 1,
        metalnessMap: rough,
        normalMap: await texture("/normal", scene.normal, THREE.NoColorSpace),
        normalScale: new THREE.Vector2(scene.normal_scale, scene.normal_scale),
      }),
    ),
  );
  textured.environment = plain.environment = await environment(scene.environment);
  Object.assign(stages, { textured, plain, lamp });

  const gl = renderer.getContext();
  const info = gl.getExtension("WEBGL_debug_renderer_info");
  return {
    triangles: shape.index.count / 3,
    renderer: gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER),
    revision: THREE.REVISION,
  };
};

window.draw = async (ask) => {
  const { width, height } = ask;
  const size = renderer.getSize(new THREE.Vector2());
  if (size.x !== width || size.y !== height) {
    renderer.setSize(width, height, false);
    pixels = new Uint8Array(width * height * 4);
  }
  camera.position.fromArray(ask.eye);
  camera.lookAt(...ask.target);
  Object.assign(camera, { fov: ask.fov_y_deg, aspect: width / height, near: ask.near, far: ask.far });
  camera.updateProjectionMatrix();
  const stage = stages[ask.look];
  stage.getObjectByProperty("isLight", true)?.position.fromArray(ask.eye);
  const gl = renderer.getContext();
  const began = performance.now();
  renderer.render(stage, camera);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  const wallMs = performance.now() - began;
  const { triangles } = renderer.info.render;
  const error = gl.getError();
  if (error !== gl.NO_ERROR || gl.isContextLost()) throw new Error(`WebGL error ${error}`);
  if (ask.save) await fetch("/save", { method: "POST", body: pixels });
  return { wall_ms: wallMs, triangles };
};
