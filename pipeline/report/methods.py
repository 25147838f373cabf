"""What a run did, in words: short lines for its report, and a paragraph with references for a paper."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.metrics.catalog import METRICS
from pipeline.metrics.gaps import NONE as NO_GAP
from pipeline.metrics.gaps import REAL
from pipeline.metrics.verdict import ALPHA, ALPHA_ALONE, GATE, SMALLEST
from pipeline.report import methods_of_robustness as of_robustness
from pipeline.report import methods_of_training as of_training
from pipeline.report import methods_of_words as of_words
from pipeline.report.recorded import Citations, Record
from pipeline.report.recorded import choice as _choice
from pipeline.report.recorded import seed_of as _seed
from pipeline.report.recorded import setting as _setting
from pipeline.report.recorded import unit_of as _unit
from pipeline.report.trust import null_in_words
from pipeline.report.words import counted, look_up, number

_ELSEWHERE = (
    {name: metric.source for name, metric in METRICS.items()} | of_words.WORKS | of_robustness.WORKS | of_training.WORKS
)
WORKS: dict[str, str] = _ELSEWHERE | {
    "umap": "McInnes, L., Healy, J. and Melville, J. (2018). UMAP: uniform manifold approximation and "
    "projection for dimension reduction. arXiv:1802.03426.",
    "lloyd": METRICS["inertia"].source,
    "kmeans++": "Arthur, D. and Vassilvitskii, S. (2007). k-means++: the advantages of careful seeding. "
    "Proceedings of the 18th ACM-SIAM Symposium on Discrete Algorithms, 1027-1035.",
    "tsne": "van der Maaten, L. and Hinton, G. (2008). Visualizing data using t-SNE. "
    "Journal of Machine Learning Research 9, 2579-2605.",
    "opentsne": "Policar, P. G., Strazar, M. and Zupan, B. (2024). openTSNE: a modular Python library for t-SNE "
    "dimensionality reduction and embedding. Journal of Statistical Software 109(3), 1-30.",
    "minibatch": "Sculley, D. (2010). Web-scale k-means clustering. Proceedings of the 19th International Conference "
    "on World Wide Web, 1177-1178.",
    "spherical": "Dhillon, I. S. and Modha, D. S. (2001). Concept decompositions for large sparse text data using "
    "clustering. Machine Learning 42, 143-175.",
    "faiss": "Douze, M. et al. (2024). The Faiss library. arXiv:2401.08281.",
    "em": "Dempster, A. P., Laird, N. M. and Rubin, D. B. (1977). Maximum likelihood from incomplete data via the EM "
    "algorithm. Journal of the Royal Statistical Society B 39(1), 1-38.",
    "ward": "Ward, J. H. (1963). Hierarchical grouping to optimize an objective function. "
    "Journal of the American Statistical Association 58, 236-244.",
    "linkage": "Murtagh, F. and Contreras, P. (2012). Algorithms for hierarchical clustering: an overview. "
    "WIREs Data Mining and Knowledge Discovery 2(1), 86-97.",
    "hdbscan": METRICS["noise_share"].source,
    "pca": "Jolliffe, I. T. (2002). Principal Component Analysis, 2nd edition. Springer.",
    "scikit-learn": "Pedregosa, F. et al. (2011). Scikit-learn: machine learning in Python. "
    "Journal of Machine Learning Research 12, 2825-2830.",
    "permuted": "Ojala, M. and Garriga, G. C. (2010). Permutation tests for studying classifier performance. "
    "Journal of Machine Learning Research 11, 1833-1863.",
    "never zero": "Phipson, B. and Smyth, G. K. (2010). Permutation p-values should never be zero: calculating exact "
    "p-values when permutations are randomly drawn. Statistical Applications in Genetics and Molecular Biology 9(1), "
    "39.",
    "jaeckel": "Jaeckel, L. A. (1972). The infinitesimal jackknife. Memorandum MM 72-1215-11, Bell Laboratories.",
    "dyads": "Aronow, P. M., Samii, C. and Assenova, V. A. (2015). Cluster-robust variance estimation for dyadic "
    "data. Political Analysis 23(4), 564-577.",
    "digits": "Alpaydin, E. and Kaynak, C. (1998). Optical recognition of handwritten digits. "
    "UCI Machine Learning Repository, doi:10.24432/C50P49.",
    "elbow": "Schubert, E. (2022). Stop using the elbow criterion for k-means and how to choose the number of "
    "clusters instead. arXiv:2212.12189.",
    "sigclust": METRICS["excess"].source,
    "gap statistic": "Tibshirani, R., Walther, G. and Hastie, T. (2001). Estimating the number of clusters in a data "
    "set via the gap statistic. Journal of the Royal Statistical Society B 63(2), 411-423.",
    "one more": "Crawford, J. R. and Howell, D. C. (1998). Comparing an individual's test score against norms derived "
    "from small samples. The Clinical Neuropsychologist 12(4), 482-486.",
    "halves": "Shao, J. and Wu, C. F. J. (1989). A general theory for jackknife variance estimation. "
    "Annals of Statistics 17(3), 1176-1197.",
    "density": "Scott, D. W. (1992). Multivariate Density Estimation: Theory, Practice, and Visualization. Wiley.",
    "spaces": "Wang, Z., Zhang, B. and Ye, C. (2024). Deep clustering evaluation: how to validate internal "
    "clustering validation measures. arXiv:2403.14830.",
}
"""Everything that a paragraph may cite, by a short name; scores by their own name."""


def stages_done(record: Record) -> set[str]:
    """Names of the stages that this run finished."""
    return {str(stage.get("name")) for stage in record.get("stages") or [] if stage.get("status") == "done"}


_OF_TEXTS = ("texts", "text_embedding", "text_index")


def _described(record: Record) -> set[str]:
    """What is told of: the stages that this run finished, and those of another whose results it took. The texts of an
    index that was there are not this run's, whose settings do not tell of them."""
    done = {*stages_done(record), *look_up(record, "taken.stages", {})}
    done |= {"listing"} if "images" in done else set()
    return done - set(_OF_TEXTS) if _setting(record, "tagging.index", None) is not None else done


def _space(record: Record) -> str:
    """The space that was clustered."""
    in_embedding = _setting(record, "clustering.space") == "embedding" or _choice(record, "projection") == "none"
    return "embeddings" if in_embedding else "projection"


def _sampled(record: Record) -> str:
    """Where not all images were fitted, how many."""
    most, images = _setting(record, "projection.max_fit", None), look_up(record, "images.read")
    if most is None or images is None or images <= most:
        return ""
    return f" It was fitted to a random sample of {number(most)} images, and the others placed by its transform."


def _k(record: Record, k: float | None) -> str:
    """k and where it comes from. `k`: the number that was used, where the config leaves it open."""
    given = _setting(record, "clustering.k", None)
    if given is not None:
        return f"k = {given}"
    classes = look_up(record, "images.classes")
    if k is None:
        return "k = the number of classes"
    reason = "the number of classes" if k == classes else "by default"
    return f"k = {number(k)}, {reason}"


# --- lines of the report, a function per stage or choice ---------------------------------------------------


def _listing_lines(record: Record) -> list[str]:
    images = record.get("images") or {}
    listed, read = images.get("listed"), images.get("read")
    name = look_up(record, "dataset.name", _setting(record, "dataset.name"))
    text = f"Data set “{name}”: {counted(listed, 'image')} listed"
    text += "" if read is None else f", {number(read)} read"
    if images.get("labelled") and images.get("classes") is not None:
        text += f", {counted(images['classes'], 'class', 'classes')}"
    lines = [text + "."]
    if (most := _setting(record, "dataset.limit_per_class", None)) is not None:
        seed = _setting(record, "dataset.sample_seed", 0)
        lines.append(f"At most {number(most)} images of each class, drawn at random, seed {seed}.")
    limit = _setting(record, "dataset.limit", None)
    if limit is not None:
        seed = _setting(record, "dataset.sample_seed", 0)
        lines.append(f"A reproducible sample of at most {number(limit)} images, stratified by label, seed {seed}.")
    return lines


def _precision(encoder: Record) -> str:
    """How it was computed, and how near that is to the exact way."""
    text = f"precision: {encoder.get('precision')}"
    if encoder.get("device"):
        text += f" on {encoder['device']}"
    if not encoder.get("compared"):
        return text
    worst = f"{float(encoder['fidelity']):.5f}"
    images = counted(encoder["compared"], "image")
    if encoder.get("fell_back"):
        return f"{text}, because a faster way gave a cosine of {worst} to the exact vectors at worst, of {images}"
    return f"{text}; smallest cosine to the exact vectors (fp32, exact reading) {worst}, of {images}"


def _embedding_lines(record: Record) -> list[str]:
    encoder = record.get("encoder") or {}
    lines = [
        f"Each image became a vector of {number(encoder.get('dimension'))} numbers by "
        f"“{encoder.get('name')}” ({encoder.get('model')}); {_precision(encoder)}.",
        "Vectors were scaled to unit length."
        if encoder.get("normalized")
        else "Vectors were not scaled to unit length.",
    ]
    sentence = str(encoder.get("preprocessing") or "").strip()
    lines += [f"Preprocessing: {sentence.rstrip('.')}."] if sentence else []
    return lines + ([f"{deep}."] if (deep := _sixteen_bits(record)) else [])


def _sixteen_bits(record: Record) -> str:
    """How images of 16 bits a channel were scaled to 8, '' where there were none."""
    count = look_up(record, "images.sixteen_bit")
    ends = {
        "range": "the smallest and largest value of each",
        "percentile": "the 0.5th and 99.5th percentile of each",
        "full": "0 and 65,535",
    }.get(_setting(record, "images.sixteen_bit"), "?")
    was = "was" if count == 1 else "were"
    said = f"{counted(count, 'image')} of 16 bits a channel {was} scaled to 8 with {ends} as black and white"
    return said if count else ""


def _distance_lines(record: Record) -> list[str]:
    lines = [
        "Class distances: cosine similarities of embeddings. Each unordered pair of images counts once, no "
        "image is paired with itself; ‘between’ holds only pairs from different classes.",
        "A class's centre is the mean of its members' unit vectors (not scaled again); its radius is the "
        "largest Euclidean distance of a member to the centre.",
    ]
    if _setting(record, "class_distances.centered", False) is True:
        lines.append(
            "Centred: from each image's unit vector the mean of all images' unit vectors was subtracted, and the "
            "difference scaled to length 1 again; cosines of these."
        )
    if _setting(record, "class_distances.centered", None) is not None:  # older runs have no intervals
        lines.append(
            f"Intervals (95 %): each {_unit(record)} is a unit, as pairs that share an image are not independent; "
            "infinitesimal jackknife, Student's t; classes and the mean that is subtracted are held fixed."
        )
    return lines


def _label_lines(record: Record) -> list[str]:
    return [
        "Each label for itself: cosine similarities of pairs of images that show it against pairs of one that does and "
        "one that was verified not to (where fewer than two were: that is not marked to)."
    ]


def _umap_line(record: Record) -> str:
    get = lambda key: _setting(record, f"projection.{key}")  # noqa: E731
    return (
        f"Projection: UMAP of the embeddings to {get('n_components')} dimensions "
        f"(n_neighbors {get('n_neighbors')}, min_dist {get('min_dist')}, Euclidean, exact neighbours, "
        f"{_seed(record, 'projection.seed')}).{_sampled(record)}"
    )


def _perplexity(record: Record) -> str:
    return f"perplexity {number(_setting(record, 'projection.perplexity', None), 1)}"


def _tsne_line(record: Record) -> str:
    return (
        f"Projection: t-SNE of the embeddings to 2 dimensions ({_perplexity(record)}, "
        f"{_setting(record, 'projection.n_iter')} iterations after 250 with exaggeration, Euclidean, exact neighbours, "
        f"started from principal components, {_seed(record, 'projection.seed')}).{_sampled(record)}"
    )


def _pca_line(record: Record) -> str:
    return f"Projection: the first {_setting(record, 'projection.n_components')} principal components."


def _no_projection_line(record: Record) -> str:
    return "No projection: the embeddings themselves were used."


_PROJECTION_LINES: dict[str, Callable[[Record], str]] = {
    "umap": _umap_line,
    "tsne": _tsne_line,
    "pca": _pca_line,
    "none": _no_projection_line,
}


def _projection_lines(record: Record) -> list[str]:
    name = _choice(record, "projection")
    line = _PROJECTION_LINES.get(name, lambda _: f"Projection: {name}.")(record)
    if name == "tsne" or _setting(record, "projection.n_components") == 2:
        return [line, "The map is this projection."]
    return [line, "The two-dimensional map is for looking only: no score is computed on it."]


def _where_k_is_selected(record: Record) -> str:
    return "embeddings" if _choice(record, "projection") == "none" else "projection"


def _k_selection_lines(record: Record) -> list[str]:
    return [
        f"How many clusters: k-means of the {_where_k_is_selected(record)} for every k from "
        f"{_setting(record, 'k_selection.k_min')} to {_setting(record, 'k_selection.k_max')} (as far as the images "
        f"reach), best of {_setting(record, 'k_selection.n_init')} starts each, "
        f"{_seed(record, 'k_selection.seed')}; the criteria suggest, and no k was set by them."
    ]


def _kmeans_line(record: Record, k: float | None) -> str:
    return (
        f"Clustering: k-means of the {_space(record)}, {_k(record, k)}, k-means++ starts, best of "
        f"{_setting(record, 'clustering.n_init')}, {_seed(record, 'clustering.seed')}."
    )


def _minibatch_kmeans_line(record: Record, k: float | None) -> str:
    return (
        f"Clustering: mini-batch k-means of the {_space(record)}, {_k(record, k)}, "
        f"{number(_setting(record, 'clustering.batch_size'))} images at a time, best of "
        f"{_setting(record, 'clustering.n_init')} starts, {_seed(record, 'clustering.seed')}."
    )


def _spherical_kmeans_line(record: Record, k: float | None) -> str:
    return (
        f"Clustering: spherical k-means of the {_space(record)} (vectors scaled to unit length, compared by cosine), "
        f"{_k(record, k)}, all images in every one of {_setting(record, 'clustering.n_iter')} iterations, best of "
        f"{_setting(record, 'clustering.n_init')}, {_seed(record, 'clustering.seed')}."
    )


def _gmm_line(record: Record, k: float | None) -> str:
    return (
        f"Clustering: the most likely component of a mixture of Gaussians of the {_space(record)}, {_k(record, k)}, "
        f"{_setting(record, 'clustering.covariance_type')} covariances, best of "
        f"{_setting(record, 'clustering.n_init')}, {_seed(record, 'clustering.seed')}."
    )


def _agglomerative_line(record: Record, k: float | None) -> str:
    linkage = _setting(record, "clustering.linkage")
    return f"Clustering: agglomerative, of the {_space(record)}, {linkage} linkage, Euclidean, {_k(record, k)}."


def _hdbscan_line(record: Record, k: float | None) -> str:
    return (
        f"Clustering: HDBSCAN of the {_space(record)}, Euclidean, {_hdbscan_settings(record)}; it found "
        f"{counted(k, 'cluster')}. Images in no cluster are noise, and have no part in any score."
    )


def _hdbscan_settings(record: Record) -> str:
    size = _setting(record, "clustering.min_cluster_size")
    return f"min_cluster_size {size}, min_samples {_setting(record, 'clustering.min_samples', size)}"


_CLUSTERING_LINES: dict[str, Callable[[Record, float | None], str]] = {
    "kmeans": _kmeans_line,
    "minibatch_kmeans": _minibatch_kmeans_line,
    "spherical_kmeans": _spherical_kmeans_line,
    "gmm": _gmm_line,
    "agglomerative": _agglomerative_line,
    "hdbscan": _hdbscan_line,
}


def _clustering_line(record: Record, k: float | None) -> str:
    name = _choice(record, "clustering")
    fallback = lambda record, k: f"Clustering: {name} of the {_space(record)}."  # noqa: E731
    return _CLUSTERING_LINES.get(name, fallback)(record, k)


def _score_lines(record: Record) -> list[str]:
    lines = ["Scores: the same clusters, measured in each space; the space is named beside every number."]
    if look_up(record, "images.labelled"):
        lines.append("Agreement with labels compares clusters and labels only; it depends on no space.")
    return lines


def _label_structure_lines(record: Record) -> list[str]:
    lines = [
        "Labels: clusters against labels; the label that most of an image's five nearest others have; and a linear "
        "probe (L2-penalised logistic regression of standardised features, C = 5 / their number, at most 512 principal "
        f"coordinates, five folds, {_seed(record, 'significance.seed')})"
        + (", neighbours and folds by group." if look_up(record, "images.grouped") else ".")
    ]
    if count := _setting(record, "significance.permutations", 0):
        lines.append(f"Each beside the same with permuted labels, {number(count)} times, same clusters and folds.")
    return lines


def _clouds(record: Record) -> int:
    """How many clouds went through what the images went through."""
    flat = _choice(record, "projection") == "none"
    return int(_setting(record, f"significance.{'embedding_replicates' if flat else 'replicates'}", 0))


def _sample_compared(record: Record) -> str:
    """'a random sample of 2,000 images', or '' where all were compared."""
    most, images = _setting(record, "significance.max_images", None), look_up(record, "images.read")
    if most is None or images is None or images <= most:
        return ""
    return f"a random sample of {counted(most, 'image')}"


def _same_steps(record: Record) -> str:
    return "clustering" if _choice(record, "projection") == "none" else "projection and clustering"


def _repeat_lines(record: Record) -> list[str]:
    runs = _setting(record, "experiment.repeats", 1)
    return [
        f"Repeated: {counted(runs, 'run')} of the same steps in all, each with the seeds of projection and clusterer "
        "one higher; the interval is that of one more run (Student's t)."
    ]


def _trust_lines(record: Record) -> list[str]:
    sample, halves = _sample_compared(record), _setting(record, "significance.half_samples", 0)
    lines = [
        f"Comparison: {counted(_clouds(record), 'cloud')} without clusters, each {null_in_words(record)}, went through "
        f"the same {_same_steps(record)} with the same number of clusters ({_seed(record, 'significance.seed')})"
        + (f"; {sample} and clouds of that size." if sample else ", on all images.")
    ]
    if _space(record) == "projection":
        more = counted(_setting(record, "significance.embedding_replicates", 0), "cloud")
        lines.append(f"Clusters found in the embeddings themselves were compared in the same way with {more}.")
    if halves:
        by = " (groups whole)" if look_up(record, "images.grouped") else ""
        lines.append(
            f"Standard deviations and stability: {halves} random halves of the images without replacement{by}, each "
            "through the same steps with a seed of its own."
        )
    return [
        *lines,
        "Gaps: the lowest density between a cluster and its nearest over the lower of the two peaks, along the line "
        "between their centres in the embedding (each half of the members projected on the line of the other half), "
        "over the same of an even density.",
        f"Clusters are supported where their silhouette in the embedding exceeds the clouds' (p < {ALPHA}, and by at "
        f"least {SMALLEST} or, where less, a fifth of theirs) and their median gap is at most {REAL}; weakly, "
        f"where it exceeds them and the median gap is below {NO_GAP}, or where only the gap is there and clouds hardly "
        f"have one as deep (p < {ALPHA_ALONE}); else not. Where the clusterer finds none in most clouds, the share of "
        "images in clusters has to exceed every cloud's instead; noise counts with the nearest cluster where gaps are "
        "measured.",
    ]


_STAGE_LINES: dict[str, Callable[[Record], list[str]]] = (
    {
        "listing": _listing_lines,
        "embedding": _embedding_lines,
        "class_distances": _distance_lines,
        "label_scores": _label_lines,
        "projection": _projection_lines,
        "k_selection": _k_selection_lines,
        "cluster_metrics": _score_lines,
        "label_structure": _label_structure_lines,
        "repeats": _repeat_lines,
        "significance": _trust_lines,
    }
    | of_words.LINES
    | of_robustness.LINES
    | of_training.LINES
)


_ORDER = (
    "listing",
    "embedding",
    "class_distances",
    "label_scores",
    "projection",
    "k_selection",
    "clustering",
    "cluster_metrics",
    "label_structure",
    "repeats",
    "significance",
    *of_words.LINES,
    *of_robustness.LINES,
    *of_training.LINES,
)


def protocol_lines(record: Record, k: float | None = None) -> list[str]:
    """What this run did and how, a plain line each, in the order of the work; only finished stages.

    Args:
        record: run.json.
        k: the number of clusters that was used (metrics key 'clustering/k'), where the config leaves it open.
    """
    done = _described(record)
    lines: list[str] = []
    for stage in _ORDER:
        if stage not in done:
            continue
        lines += [_clustering_line(record, k)] if stage == "clustering" else _STAGE_LINES[stage](record)
    return lines


# --- the paragraph, a function per stage or choice ---------------------------------------------------------


def _data_sentence(record: Record, cite: Citations) -> str:
    images = record.get("images") or {}
    name = str(look_up(record, "dataset.name", _setting(record, "dataset.name")))
    source = f" {cite('digits')}" if _setting(record, "dataset.name") == "digits" else ""
    count = counted(images.get("read", images.get("listed")), "image")
    text = f"We used {count} of the data set “{name}”{source}"
    if images.get("labelled") and images.get("classes") is not None:
        text += f" in {counted(images['classes'], 'class', 'classes')}"
    skipped = images.get("skipped")
    return text + (f"; {counted(skipped, 'unreadable image')} were left out." if skipped else ".")


def _embedding_sentence(record: Record, cite: Citations) -> str:
    encoder = record.get("encoder") or {}
    sentence = str(encoder.get("preprocessing") or "").strip().rstrip(".")
    scaled = "scaled" if encoder.get("normalized") else "not scaled"
    how = f": {sentence}" if sentence else ""
    return (
        f"Each image was represented by a vector of {number(encoder.get('dimension'))} values, "
        f"{encoder.get('model')}{how}; vectors were {scaled} to unit length."
        + (f" {deep}." if (deep := _sixteen_bits(record)) else "")
    )


def _distance_sentence(record: Record, cite: Citations) -> str:
    text = (
        "Within-class and between-class similarities are cosine similarities over all unordered pairs of "
        "distinct images, each counted once."
    )
    centered = _setting(record, "class_distances.centered", None)
    if centered is None:  # an older run
        return text
    text += (
        f" They were compared by the area under the ROC curve {cite('auc')}, d′ {cite('d_prime')} and the "
        f"overlap coefficient of their histograms {cite('overlap')}"
    )
    if centered:
        text += (
            ", before and after the mean of all unit vectors was subtracted and the vectors were scaled to unit length "
            f"again {cite('mean_length')}"
        )
    return text + (
        f"; 95 % intervals are infinitesimal-jackknife intervals over {_unit(record).split(' ')[0]}s, not pairs "
        f"{cite('gap', 'jaeckel', 'dyads')}."
    )


def _label_sentence(record: Record, cite: Citations) -> str:
    return (
        "Images may carry several labels, so each label was assessed separately: cosine similarities of all pairs of "
        "images showing it were compared with those of pairs of one image showing it and one verified not to show it "
        "(or, where fewer than two were verified, not annotated with it), by their gap with a 95 % "
        f"infinitesimal-jackknife interval over images {cite('gap', 'jaeckel', 'dyads')}, by the area under the ROC "
        f"curve {cite('auc')}, and by the mean share of images showing the label among the five nearest neighbours "
        f"{cite('precision_at_5')} of those that do."
    )


def _umap_sentence(record: Record, cite: Citations) -> str:
    get = lambda key: _setting(record, f"projection.{key}")  # noqa: E731
    return (
        f"Embeddings were projected to {get('n_components')} dimensions with UMAP {cite('umap')} "
        f"(n_neighbors = {get('n_neighbors')}, min_dist = {get('min_dist')}, Euclidean metric, "
        f"{_seed(record, 'projection.seed')}).{_sampled(record)}"
    )


def _tsne_sentence(record: Record, cite: Citations) -> str:
    return (
        f"Embeddings were projected to two dimensions with t-SNE {cite('tsne')} (openTSNE {cite('opentsne')}, exact "
        f"nearest neighbours, {_perplexity(record)}, "
        f"{_setting(record, 'projection.n_iter')} iterations after 250 with early exaggeration, initialised by "
        f"principal components, {_seed(record, 'projection.seed')}).{_sampled(record)}"
    )


def _pca_sentence(record: Record, cite: Citations) -> str:
    count = _setting(record, "projection.n_components")
    return f"Embeddings were projected onto their first {count} principal components {cite('pca')}."


_PROJECTION_SENTENCES: dict[str, Callable[[Record, Citations], str]] = {
    "umap": _umap_sentence,
    "tsne": _tsne_sentence,
    "pca": _pca_sentence,
    "none": lambda record, cite: "",
}


def _projection_sentence(record: Record, cite: Citations) -> str:
    name = _choice(record, "projection")
    sentence = _PROJECTION_SENTENCES.get(name, lambda *_: f"Embeddings were projected with {name}.")(record, cite)
    if name == "none":
        return sentence
    return (
        f"{sentence} The fidelity of the projection was measured by trustworthiness and continuity "
        f"{cite('trustworthiness')}."
    )


def _k_selection_sentence(record: Record, cite: Citations) -> str:
    get = lambda key: _setting(record, f"k_selection.{key}")  # noqa: E731
    return (
        f"Numbers of clusters from {get('k_min')} to {get('k_max')} were compared on one k-means fit "
        f"{cite('lloyd', 'kmeans++')} of the {_where_k_is_selected(record)} for each (best of {get('n_init')} "
        f"initialisations, {_seed(record, 'k_selection.seed')}) by the knee of the inertia {cite('knee')}, the "
        f"silhouette {cite('silhouette')}, the Calinski-Harabasz index {cite('calinski_harabasz')} and the "
        f"Davies-Bouldin index {cite('davies_bouldin')}. The elbow is an unreliable criterion {cite('elbow')}, and "
        f"the best score over many k is optimistic."
    )


def _clustered(record: Record) -> str:
    return f"The {_space(record)} {'were' if _space(record) == 'embeddings' else 'was'} clustered"


def _kmeans_sentence(record: Record, k: float | None, cite: Citations) -> str:
    return (
        f"{_clustered(record)} by k-means "
        f"{cite('lloyd', 'kmeans++')} ({_k(record, k)}, best of {_setting(record, 'clustering.n_init')} "
        f"initialisations, {_seed(record, 'clustering.seed')}; scikit-learn {cite('scikit-learn')})."
    )


def _minibatch_kmeans_sentence(record: Record, k: float | None, cite: Citations) -> str:
    return (
        f"{_clustered(record)} by mini-batch k-means {cite('minibatch', 'kmeans++')} ({_k(record, k)}, batches of "
        f"{_setting(record, 'clustering.batch_size')}, best of {_setting(record, 'clustering.n_init')} "
        f"initialisations, {_seed(record, 'clustering.seed')}; scikit-learn {cite('scikit-learn')})."
    )


def _spherical_kmeans_sentence(record: Record, k: float | None, cite: Citations) -> str:
    return (
        f"{_clustered(record)} by spherical k-means {cite('spherical')} of vectors scaled to unit length "
        f"({_k(record, k)}, {_setting(record, 'clustering.n_iter')} iterations, best of "
        f"{_setting(record, 'clustering.n_init')} initialisations, {_seed(record, 'clustering.seed')}; "
        f"Faiss {cite('faiss')} without subsampling)."
    )


def _gmm_sentence(record: Record, k: float | None, cite: Citations) -> str:
    return (
        f"{_clustered(record)} by a Gaussian mixture model fitted by expectation maximisation {cite('em')} "
        f"({_k(record, k)}, {_setting(record, 'clustering.covariance_type')} covariances, best of "
        f"{_setting(record, 'clustering.n_init')} k-means initialisations, {_seed(record, 'clustering.seed')}; "
        f"scikit-learn {cite('scikit-learn')}), each image assigned to its most likely component."
    )


def _agglomerative_sentence(record: Record, k: float | None, cite: Citations) -> str:
    linkage = str(_setting(record, "clustering.linkage"))
    return (
        f"{_clustered(record)} by agglomerative clustering with {linkage} linkage "
        f"{cite('ward' if linkage == 'ward' else 'linkage')} and Euclidean distances ({_k(record, k)}; scikit-learn "
        f"{cite('scikit-learn')})."
    )


def _hdbscan_sentence(record: Record, k: float | None, cite: Citations) -> str:
    return (
        f"{_clustered(record)} by HDBSCAN {cite('hdbscan')} with Euclidean distances ({_hdbscan_settings(record)}; "
        f"scikit-learn {cite('scikit-learn')}), which found {counted(k, 'cluster')}; images in no cluster were left "
        f"out of all scores."
    )


_CLUSTERING_SENTENCES: dict[str, Callable[[Record, float | None, Citations], str]] = {
    "kmeans": _kmeans_sentence,
    "minibatch_kmeans": _minibatch_kmeans_sentence,
    "spherical_kmeans": _spherical_kmeans_sentence,
    "gmm": _gmm_sentence,
    "agglomerative": _agglomerative_sentence,
    "hdbscan": _hdbscan_sentence,
}


def _clustering_sentence(record: Record, k: float | None, cite: Citations) -> str:
    name = _choice(record, "clustering")
    fallback = lambda record, k, cite: f"The {_space(record)} was clustered by {name}."  # noqa: E731
    return _CLUSTERING_SENTENCES.get(name, fallback)(record, k, cite)


def _score_sentence(record: Record, cite: Citations) -> str:
    spaces = "in the embedding space"
    if _choice(record, "projection") != "none":
        spaces = "in the projection and, for the same clusters, in the embedding space"
    text = (
        f"Clusters were scored by the silhouette {cite('silhouette')}, the Calinski-Harabasz index "
        f"{cite('calinski_harabasz')} and the Davies-Bouldin index {cite('davies_bouldin')} {spaces}; "
        f"scores of different spaces are not comparable {cite('spaces')}."
    )
    if look_up(record, "images.labelled"):
        text += (
            f" Agreement with the labels was measured by the adjusted Rand index {cite('ari')}, adjusted and "
            f"normalised mutual information {cite('ami', 'nmi')}, accuracy under the best one-to-one "
            f"assignment {cite('accuracy')} and purity {cite('purity')}."
        )
    return text


def _label_structure_sentence(record: Record, cite: Citations) -> str:
    groups = " of other groups" if look_up(record, "images.grouped") else ""
    folds = " by group" if look_up(record, "images.grouped") else ""
    text = (
        "How much of the labels the embedding holds was measured by the accuracy of a majority vote of the five "
        f"nearest other images{groups} {cite('knn_accuracy')} and of a linear probe {cite('probe_accuracy')}: "
        "L2-penalised multinomial logistic regression of standardised features (C = 5 divided by their number, at most "
        f"512 principal coordinates; scikit-learn {cite('scikit-learn')}) in stratified five-fold cross-validation"
        f"{folds}"
    )
    if not (count := _setting(record, "significance.permutations", 0)):
        return f"{text}."
    return (
        f"{text}. These and the agreement of clusters and labels were compared with {number(count)} permutations of "
        f"the labels {cite('permuted')}, p = (1 + permutations reaching the score) / (1 + permutations) "
        f"{cite('never zero')}."
    )


def _repeat_sentence(record: Record, cite: Citations) -> str:
    return (
        f"Projection and clustering were repeated with {_setting(record, 'experiment.repeats', 1)} seeds; we report "
        "means and standard deviations, and compare published values with the 95 % interval for one more run "
        f"{cite('one more')}."
    )


def _clouds_in_words(record: Record, cite: Citations) -> str:
    """What the clouds are, with sources."""
    kind = _setting(record, "significance.null_model")
    scaled = ", scaled to unit length" if look_up(record, "encoder.normalized") else ""
    if kind == "gaussian":
        return f"drawn from the Gaussian with the mean and covariance of the embeddings {cite('sigclust')}{scaled}"
    if kind == "box":
        return f"uniform in the box of the embeddings along their principal axes {cite('gap statistic')}{scaled}"
    return f"without clusters, each {null_in_words(record)}{scaled}"


def _trust_sentence(record: Record, cite: Citations) -> str:
    sample, halves = _sample_compared(record), _setting(record, "significance.half_samples", 0)
    on = f", on {sample}," if sample else ""
    text = (
        f"As clustering and projection make groups of structureless data too {cite('neighbours_kept')}, all scores "
        f"were compared{on} with those of {counted(_clouds(record), 'cloud')} "
        f"{_clouds_in_words(record, cite)}, after the same {_same_steps(record)} with the same number of clusters; "
        f"p-values are one-sided, by Student's t for one more cloud {cite('one more')}, and "
        "Calinski-Harabasz and Davies-Bouldin indices were compared by their logarithms."
    )
    if halves:
        by = ", of whole groups," if look_up(record, "images.grouped") else ""
        text += (
            f" Standard deviations {cite('halves')} and the stability of clusters, the mean Jaccard index with the "
            f"most similar cluster {cite('jaccard')}, are those of {halves} half-samples{by} without replacement."
        )
    return text + (
        " For each cluster and its nearest we measured the gap in embedding space: the valley of the kernel density "
        f"{cite('valley', 'density')} along the cross-fitted line between the centroids over its lower peak, relative "
        "to that of an even density. Clusters were considered supported if their silhouette in embedding space "
        f"exceeded that of the clouds (p < {ALPHA}, and by at least {SMALLEST} or, where less, a fifth of theirs) and "
        f"their median gap was at most {REAL}; a number of clusters, "
        f"only if the best silhouette over all k exceeded the best of the clouds by {GATE} {cite('gap statistic')}."
    )


_STAGE_SENTENCES: dict[str, Callable[[Record, Citations], str]] = (
    {
        "listing": _data_sentence,
        "embedding": _embedding_sentence,
        "class_distances": _distance_sentence,
        "label_scores": _label_sentence,
        "projection": _projection_sentence,
        "k_selection": _k_selection_sentence,
        "cluster_metrics": _score_sentence,
        "label_structure": _label_structure_sentence,
        "repeats": _repeat_sentence,
        "significance": _trust_sentence,
    }
    | of_words.SENTENCES
    | of_robustness.SENTENCES
    | of_training.SENTENCES
)


def methods_paragraph(record: Record, k: float | None = None) -> tuple[str, list[str]]:
    """A paragraph for the methods section of a paper, and its references in the order of their numbers.

    Args:
        record: run.json; only stages that finished are described.
        k: the number of clusters that was used (metrics key 'clustering/k'), where the config leaves it open.

    Returns:
        text with numbers like [1], and the references: the first one is [1].
    """
    done = _described(record)
    cite = Citations(WORKS)
    sentences: list[str] = []
    for stage in _ORDER:
        if stage not in done:
            continue
        if stage == "clustering":
            sentences.append(_clustering_sentence(record, k, cite))
        else:
            sentences.append(_STAGE_SENTENCES[stage](record, cite))
    commit = str(look_up(record, "git.commit", ""))
    code = f" (code at commit {commit[:12]})" if commit else ""
    if sentences:
        sentences.append(f"All numbers were computed with clipscope{code}.")
    return " ".join(filter(None, sentences)), cite.references
