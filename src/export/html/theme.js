// Dark or light, and the colours that canvases need.

const theme = (() => {
  const wanted = matchMedia("(prefers-color-scheme: dark)");
  let isDark = wanted.matches;
  const show = () => (document.documentElement.dataset.theme = isDark ? "dark" : "light");
  show();
  const set = (dark) => {
    isDark = dark;
    show();
    drawAll();
  };
  wanted.addEventListener("change", (event) => set(event.matches));
  byId("theme").addEventListener("click", () => set(!isDark));
  const hues = [14, 28, 40, 52, 4, 168, 190, 208, 226, 262, 90, 330];
  const hueOf = recording.files.path.map((path) => {
    let hash = 2166136261;
    for (let i = 0; i < Math.min(path.length, 4000); i++) hash = Math.imul(hash ^ path.charCodeAt(i), 16777619);
    return hues[(hash >>> 8) % hues.length];
  });
  return {
    get isDark() { return isDark; },
    colour: (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim(),
    // The colour of a frame of a file. Neighbours differ a little.
    ofFile: (file, shade) => (isDark ? `hsl(${hueOf[file]} 38% ${34 + shade * 5}%)` : `hsl(${hueOf[file]} 78% ${76 + shade * 5}%)`),
    // From -1 (shrank) to 1 (grew).
    ofChange: (change) => {
      const strength = Math.sqrt(Math.min(1, Math.abs(change)));
      const hue = change > 0 ? 6 : 214;
      if (isDark) return `hsl(${hue} ${10 + 52 * strength}% ${30 + 14 * strength}%)`;
      return `hsl(${hue} ${20 + 65 * strength}% ${91 - 22 * strength}%)`;
    },
    ink: () => (isDark ? "#f1f3f8" : "#1d2433"),
  };
})();
