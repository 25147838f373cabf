"""The k_support stage: gate and votes from their parts, the same for every number of clusters, and bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from pipeline import schema as s
from pipeline.geometry.clustering import kmeans
from pipeline.metrics.clustering import silhouette, silhouette_samples
from pipeline.metrics.k_selection import agreed, knee, total_inertia
from pipeline.metrics.verdict import GATE
from pipeline.stage import Facts, Workspace
from pipeline.stages import k_support as stage
from tests.stages.comparing import NONE, PCA, blobs, chosen, replicated, significant, supported

KS = range(2, 9)


def made_of(folder: Path, vectors: np.ndarray, given: Any, ks: range = KS) -> dict[str, Any]:
    made = replicated(folder, vectors, given)
    places = made.pop("projection")
    return made | supported(folder, vectors, given, places, ks, made)


def votes(made: dict[str, Any], sample: str) -> dict[str, int]:
    table = made["k_votes"]
    return dict(table.loc[table["sample"] == sample, ["criterion", "k"]].itertuples(index=False, name=None))


def test_gate_and_votes_are_made_of_their_parts(tmp_path: Path) -> None:
    made = made_of(tmp_path, blobs(120, count=4, apart=5), chosen())

    def fitted(places: np.ndarray) -> tuple[np.ndarray, list[float], list[float]]:
        fits = [kmeans(places, k, stage.N_INIT) for k in KS]
        scores = [silhouette(silhouette_samples(places, fit.clusters, ("euclidean",))["euclidean"]) for fit in fits]
        return np.stack([fit.clusters for fit in fits], axis=1), scores, [fit.inertia for fit in fits]

    places = made["sample_projection"]
    whole, silhouettes, inertias = fitted(places)
    nulls = [fitted(null) for null in made["null_projections"]]
    choice, gate = made["k_choice"], made["k_gate"].iloc[0]
    assert choice["k"].tolist() == list(KS)
    assert choice["silhouette"].tolist() == pytest.approx(silhouettes)
    assert choice["null_silhouette"].tolist() == pytest.approx(np.mean([null[1] for null in nulls], axis=0))
    assert gate["observed"] == pytest.approx(max(silhouettes)) and gate["of"] == "the best of k = 2 to 8"
    assert gate["null_mean"] == pytest.approx(np.mean([max(null[1]) for null in nulls]))

    def again(rows: np.ndarray, at: np.ndarray, of: np.ndarray) -> list[float]:
        half = fitted(at[rows])[0]
        return [adjusted_rand_score(of[rows, i], half[:, i]) for i in range(len(KS))]

    stable = [again(rows, at, whole) for rows, at in zip(made["half_rows"], made["half_projections"], strict=True)]
    by_chance = np.mean([
        again(rows, at, null[0])
        for rows, at, null in zip(made["null_half_rows"], made["null_half_projections"], nulls, strict=True)
    ], axis=0)  # fmt: skip
    assert choice["stability"].tolist() == pytest.approx(np.mean(stable, axis=0))
    assert choice["null_stability"].tolist() == pytest.approx(by_chance)

    def bend(at: np.ndarray, of: list[float]) -> int:
        found = knee([1, *KS], [total_inertia(at), *of])
        assert found is not None
        return found[0]

    expected = {
        "silhouette": KS[int(np.argmax(silhouettes))],
        "stability": KS[int(np.argmax(np.mean(stable, axis=0) - by_chance))],
        "knee": bend(places, inertias),
    }
    assert votes(made, "all") == expected
    assert (gate["k_low"], gate["k_high"]) == agreed(list(expected.values()))
    for i, (rows, at) in enumerate(zip(made["half_rows"], made["half_projections"], strict=True)):
        _, scores, inertia = fitted(at[rows])
        assert votes(made, f"half {i + 1}") == {
            "silhouette": KS[int(np.argmax(scores))],
            "stability": KS[int(np.argmax(np.array(stable[i]) - by_chance))],
            "knee": bend(at[rows], inertia),
        }
    numbers = stage.metrics(made)
    assert numbers["gate"] == pytest.approx(gate["excess"]) and numbers["knee/k"] == expected["knee"]


@pytest.mark.parametrize("given", [chosen(NONE), chosen(PCA, space=s.Space.embedding), chosen()])
def test_clusters_are_found_where_the_run_finds_them(given: Any, tmp_path: Path) -> None:
    made = made_of(tmp_path, blobs(apart=12), given)
    gate = made["k_gate"].iloc[0]
    inside = given.clustering.space is s.Space.embedding or given.projection is NONE
    assert gate["space"] == gate["clusters_of"] == ("embedding" if inside else "projection")
    assert votes(made, "all")["silhouette"] == 3 and (gate["k_low"], gate["k_high"]) == (3, 3)


def test_one_cloud_does_not_pass_the_gate_but_its_votes_are_kept(tmp_path: Path) -> None:
    made = made_of(tmp_path, blobs(150, apart=0), chosen())
    gate = made["k_gate"].iloc[0]
    assert gate["observed"] - gate["null_mean"] < GATE
    assert pd.isna(gate["k_low"]) and pd.isna(gate["k_high"])
    assert set(votes(made, "all")) >= {"silhouette", "stability"}


def test_the_runs_own_k_changes_neither_key_nor_numbers(tmp_path: Path) -> None:
    """So a sweep over k makes all this once."""
    three, seven = (
        chosen(clusterer=s.KmeansClustering("kmeans", s.Space.projection, k, n_init, k))
        for k, n_init in ((3, 1), (7, 9))
    )
    assert stage.keyed(three) == stage.keyed(seven)
    assert stage.keyed(three) != stage.keyed(chosen(space=s.Space.embedding))
    assert stage.keyed(three) != stage.keyed(chosen(replicates=9))
    one, other = (made_of(tmp_path / str(i), blobs(), given) for i, given in enumerate((three, seven)))
    for name in stage.STAGE.makes:
        pd.testing.assert_frame_equal(one[name], other[name])


def test_its_row_stands_among_the_scores(tmp_path: Path) -> None:
    made = significant(tmp_path, blobs(), chosen())
    rows = made["null_scores"].query("name == 'best_silhouette'").reset_index(drop=True)
    gate, verdict = made["k_gate"].iloc[0], made["verdict"].iloc[0]
    pd.testing.assert_frame_equal(rows, made["k_gate"][list(rows.columns)])
    assert verdict["k_gate"] == pytest.approx(gate["excess"]) and verdict["k_low"] == gate["k_low"] == 3


def test_ks_that_a_quarter_of_the_images_cannot_fill_are_left_out(tmp_path: Path) -> None:
    assert made_of(tmp_path, blobs(40), chosen(), range(2, 20))["k_choice"]["k"].max() == 10


def test_nothing_to_score(tmp_path: Path) -> None:
    made = made_of(tmp_path, blobs(60), chosen(), range(2, 2))
    assert [len(made[name]) for name in stage.STAGE.makes] == [0, 0, 0]
    assert stage.metrics(made) == {} and stage.draw(chosen(), made, {}, None) == {}  # type: ignore[arg-type]


def test_no_half_samples_no_vote_of_stability(tmp_path: Path) -> None:
    made = made_of(tmp_path, blobs(), chosen(half_samples=0))
    assert set(made["k_votes"]["sample"]) == {"all"} and set(votes(made, "all")) == {"silhouette", "knee"}
    assert made["k_choice"]["stability"].isna().all()
    assert set(stage.draw(chosen(), made, {}, None)) == {"k_choice"}  # type: ignore[arg-type]


def test_equal_vectors(tmp_path: Path) -> None:
    assert len(made_of(tmp_path, np.full((60, 4), 0.3, np.float32), chosen(), range(2, 2))["k_choice"]) == 0


def test_progress_and_refusal(tmp_path: Path) -> None:
    vectors, given = blobs(), chosen()
    made = replicated(tmp_path, vectors, given)
    made.pop("projection")
    seen: list[tuple[int, int]] = []
    scores = pd.DataFrame({"k": [2, 3], "silhouette_projection": [0.1, 0.2]})
    stage.run(given, Workspace(tmp_path, progress=lambda *at: seen.append(at)), vectors, scores, **made)
    assert seen[-1] == (7, 7) and seen == sorted(seen)
    assert stage.refuse(Facts(100, ()), chosen(name="none", replicates=0)) == "significance=none"
