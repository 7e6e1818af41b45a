import { beforeEach, expect, test } from "vitest";
import { forgetHangings, hang, leftOf, protocolOf } from "../src/viewer/hanging";
import { sagittal } from "./series";

const pair = { t2w: sagittal([0, 4]), t1w: sagittal([0, 4], { weighting: "T1w" }), shared_frame: true };
const axial = { ...pair, t1w: sagittal([0, 4], { row_cosines: [1, 0, 0], column_cosines: [0, 1, 0] }) };

beforeEach(() => localStorage.clear());

test("a kind of study is named by its planes and its other images, in any order and each once", () => {
  expect(protocolOf(pair, [])).toBe("sagittal T2W, sagittal T1W");
  expect(protocolOf(axial, [])).toBe("sagittal T2W, axial T1W");
  expect(protocolOf(pair, ["STIR", "CT", "STIR"])).toBe(protocolOf(pair, ["CT", "STIR"]));
  expect(protocolOf(pair, ["STIR"])).not.toBe(protocolOf(pair, []));
});

test("the side is remembered for its own kind of study only", () => {
  expect(leftOf("plain")).toBe("T2W");
  hang("plain", "T1W");
  hang("with STIR", "T2W");
  expect(leftOf("plain")).toBe("T1W");
  expect(leftOf("with STIR")).toBe("T2W");
  forgetHangings();
  expect(leftOf("plain")).toBe("T2W");
});

test.each(["{", "null", '{"plain": "CT"}'])("a store that holds %s is ignored", (stored) => {
  localStorage.setItem("spinefx.hangings", stored);
  expect(leftOf("plain")).toBe("T2W");
});
