import { describe, expect, it } from "vitest";
import { groupNames, routeUrl } from "../src/api/client";
import type { CompareAnswer, NormSeries } from "../src/api/wire";
import { formatHash, parseHash } from "../src/host/permalink";
import { describeChanges, groupChanges, readChanges } from "../src/model/compare";
import { logRange, mergeSeries } from "../src/model/norms";
import { Cache } from "../src/state/cache";
import { readLink, writeLink } from "../src/state/link";

describe("links", () => {
  const full = {
    run: "a b/ü&#",
    at: 12,
    selection: { kind: "variable" as const, name: "m/a=b&c" },
    query: "head/* x",
    filter: "mismatch" as const,
    finding: 0,
    sort: { key: "name" as const, descending: false },
    grouped: false,
    compared: { run: "other", at: 3 },
  };

  it("keep the whole state through TensorBoard's address", () => {
    const hash = formatHash("#introspect&tagFilter=x&p.introspect.old=1&p.hparams.y=2", writeLink(full));
    expect(hash).toMatch(/^#introspect&tagFilter=x&p\.hparams\.y=2&p\.introspect\./);
    expect(hash).not.toContain("old");
    expect(readLink(parseHash(hash))).toEqual(full);
  });

  it("say nothing of what is as it always is", () => {
    expect(writeLink(readLink({}))).toEqual({});
    expect(readLink({})).toMatchObject({ run: null, at: null, filter: "all", grouped: true, sort: { key: "mismatch", descending: true } });
  });

  it("are not trusted", () => {
    const link = readLink(parseHash("#introspect&p.introspect.at=-1&p.introspect.show=__proto__&p.introspect.sort=-evil&p.introspect.sel=x:y&p.introspect.q=%E0%A4%A"));
    expect(link).toMatchObject({ at: null, filter: "all", selection: null, query: "%E0%A4%A" });
    expect(link.sort.key).toBe("mismatch");
    expect(readLink(parseHash("#introspect&p.introspect.__proto__=1&p.introspect.at=99999999999999999999")).at).toBeNull();
  });
});

describe("requests", () => {
  it("encode what they carry", () => {
    expect(routeUrl("norms", { run: "a&b", variable: ["x y", "z"], at: null })).toBe("norms?run=a%26b&variable=x+y&variable=z");
    expect(routeUrl("runs")).toBe("runs");
  });

  it("carry at most 16 names, and few long ones", () => {
    expect(groupNames(Array.from({ length: 40 }, String)).map((group) => group.length)).toEqual([16, 16, 8]);
    expect(groupNames(Array.from({ length: 4 }, () => "x".repeat(4000))).map((group) => group.length)).toEqual([1, 1, 1, 1]);
  });
});

describe("the cache", () => {
  it("keeps the last few, and nothing that failed", async () => {
    const cache = new Cache<number>(2);
    let loads = 0;
    const load = () => Promise.resolve(++loads);
    await cache.get("a", load);
    await cache.get("b", load);
    await cache.get("a", load);
    await cache.get("c", load);
    expect(loads).toBe(3);
    expect(await cache.get("a", load)).toBe(1);
    expect(await cache.get("b", load)).toBe(4);
    await expect(cache.get("x", () => Promise.reject(new Error("no")))).rejects.toThrow();
    expect(await cache.get("x", load)).toBe(5);
  });
});

describe("comparison", () => {
  const answer = {
    strings: [null, "a", "b", "updated", "no", "yes", "trainable"],
    changes: { rows: 3, variable: [1, 2, 1], field: [3, 3, 6], before: [4, 4, 0], after: [5, 5, 5] },
    findings_added: [],
    findings_removed: [{}],
    variables_added: [],
    variables_removed: [1],
  } as unknown as CompareAnswer;

  it("tells the same change of many once", () => {
    expect(groupChanges(readChanges(answer)).map((group) => [group.field, group.before, group.after, group.count])).toEqual([
      ["updated", "no", "yes", 2],
      ["trainable", null, "yes", 1],
    ]);
  });

  it("is one sentence", () => {
    expect(describeChanges(answer)).toBe("1 flag changed, 2 variables now train, 1 finding gone, 1 variable removed.");
    const nothing = { ...answer, changes: { rows: 0, variable: [], field: [], before: [], after: [] }, findings_removed: [], variables_removed: [] };
    expect(describeChanges(nothing)).toBe("Nothing changed.");
  });
});

describe("norms over time", () => {
  const series = (at: number[], gradient: NormSeries["gradient_norm"]): NormSeries => {
    return { variable: "x", truncated: false, at, wall_time: at, gradient_norm: gradient, update_norm: gradient, weight_norm: gradient, zero_fraction: gradient };
  };

  it("are those of all variables together, over all samples", () => {
    const line = mergeSeries([series([1, 2], [3, null]), series([1, 3], [4, "nan"])], "gradient");
    expect(line.x).toEqual([1, 3]);
    expect(line.y[0]).toBe(5);
    expect(line.broken).toEqual([3]);
  });

  it("stand between powers of ten", () => {
    expect(logRange([0.02, 3])).toEqual([-2, 1]);
    expect(logRange([1])).toEqual([-1, 1]);
    expect(logRange([0, NaN, Infinity])).toBeNull();
  });
});

describe("the source", () => {
  const sources = Object.entries(import.meta.glob<string>("../src/**/*.{ts,tsx,css}", { query: "?raw", import: "default", eager: true }));

  it("sets what comes from a log as text, never as markup or code", () => {
    const forbidden = /innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write|srcdoc|\beval\(|new Function|createContextualFragment/;
    expect(sources.length).toBeGreaterThan(30);
    expect(sources.filter(([, source]) => forbidden.test(source)).map(([file]) => file)).toEqual([]);
  });

  it("names no other host", () => {
    expect(sources.filter(([, source]) => /https?:\/\//.test(source)).map(([file]) => file)).toEqual([]);
  });
});
