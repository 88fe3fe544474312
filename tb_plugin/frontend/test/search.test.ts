import { describe, expect, it } from "vitest";
import { buildGlob, buildMatcher, findMarks } from "../src/model/search";

describe("globs", () => {
  it.each([
    ["head/*", "head/dense/kernel", true],
    ["head/*", "my_head/kernel", false],
    ["*", "", true],
    ["*kernel", "a/b/kernel", true],
    ["*a*b*c", "xxaxxbxxc", true],
    ["*a*b*c", "xxaxxbxxd", false],
    ["block?/bias", "block3/bias", true],
    ["block?/bias", "block13/bias", false],
    ["block[1-3]/*", "block2/kernel", true],
    ["block[!1-3]/*", "block2/kernel", false],
    ["block[!1-3]/*", "block4/kernel", true],
    ["HEAD/*", "head/kernel", true],
    ["a.b/*", "axb/kernel", false],
    ["(a+)$/*", "(a+)$/k", true],
    ["[/*", "[/k", true],
  ])("%s on %s", (glob, path, expected) => {
    expect(buildGlob(glob)(path)).toBe(expected);
  });

  it("stays quick on patterns that would trap a regular expression", () => {
    const start = performance.now();
    expect(buildGlob("*a*a*a*a*a*a*a*a*b")("a".repeat(3000))).toBe(false);
    expect(performance.now() - start).toBeLessThan(500);
  });
});

describe("the search box", () => {
  it("wants all words, anywhere, whatever their case", () => {
    const matches = buildMatcher("  Conv1 ker ");
    expect(matches?.("block/CONV1/kernel")).toBe(true);
    expect(matches?.("block/conv1/bias")).toBe(false);
  });

  it("matches everything when empty", () => {
    expect(buildMatcher("   ")).toBeNull();
  });

  it("marks the words that were found, without overlaps", () => {
    expect(findMarks("con v1 x*", "conv1")).toEqual([
      [0, 3],
      [3, 5],
    ]);
    expect(findMarks("conv onv", "conv")).toEqual([[0, 4]]);
  });
});
