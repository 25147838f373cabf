"""What each measure means, which direction is better and where it comes from, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal


@dataclass(frozen=True)
class MetricInfo:
    """One measure in words.

    `low` and `high` are the ends of its range (infinite where it has none). `better` says which direction is
    good, None where the value alone does not say. `meaning` is one sentence, `source` a citation.
    """

    name: str
    label: str
    low: float
    high: float
    better: Literal["higher", "lower"] | None
    meaning: str
    source: str


_ROUSSEEUW = (
    "Rousseeuw, P. J. (1987). Silhouettes: a graphical aid to the interpretation and validation of cluster "
    "analysis. Journal of Computational and Applied Mathematics 20, 53-65."
)
_VENNA = (
    "Venna, J. and Kaski, S. (2001). Neighborhood preservation in nonlinear projection methods: an "
    "experimental study. Artificial Neural Networks - ICANN 2001, 485-491."
)
_CALINSKI = (
    "Calinski, T. and Harabasz, J. (1974). A dendrite method for cluster analysis. "
    "Communications in Statistics 3(1), 1-27."
)
_DAVIES = (
    "Davies, D. L. and Bouldin, D. W. (1979). A cluster separation measure. "
    "IEEE Transactions on Pattern Analysis and Machine Intelligence 1(2), 224-227."
)
_HUBERT = "Hubert, L. and Arabie, P. (1985). Comparing partitions. Journal of Classification 2, 193-218."
_VINH = (
    "Vinh, N. X., Epps, J. and Bailey, J. (2010). Information theoretic measures for clusterings comparison. "
    "Journal of Machine Learning Research 11, 2837-2854."
)
_COVER = (
    "Cover, T. M. and Hart, P. E. (1967). Nearest neighbor pattern classification. "
    "IEEE Transactions on Information Theory 13(1), 21-27."
)
_ALAIN = (
    "Alain, G. and Bengio, Y. (2016). Understanding intermediate layers using linear classifier probes. "
    "arXiv:1610.01644."
)
_KUHN = "Kuhn, H. W. (1955). The Hungarian method for the assignment problem. Naval Research Logistics 2, 83-97."
_MANNING = (
    "Manning, C. D., Raghavan, P. and Schuetze, H. (2008). Introduction to Information Retrieval, section "
    "16.3. Cambridge University Press."
)
_LLOYD = (
    "Lloyd, S. P. (1982). Least squares quantization in PCM. IEEE Transactions on Information Theory 28(2), 129-137."
)
_CAMPELLO = (
    "Campello, R. J. G. B., Moulavi, D. and Sander, J. (2013). Density-based clustering based on hierarchical density "
    "estimates. Advances in Knowledge Discovery and Data Mining, 160-172."
)
_CHARI = (
    "Chari, T. and Pachter, L. (2023). The specious art of single-cell genomics. "
    "PLOS Computational Biology 19(8), e1011288."
)

_SATOPAA = (
    'Satopaa, V., Albrecht, J., Irwin, D. and Raghavan, B. (2011). Finding a "kneedle" in a haystack: detecting '
    "knee points in system behavior. 31st International Conference on Distributed Computing Systems Workshops, 166-171."
)
_LIU = (
    "Liu, Y., Hayes, D. N., Nobel, A. and Marron, J. S. (2008). Statistical significance of clustering for "
    "high-dimension, low-sample size data. Journal of the American Statistical Association 103(483), 1281-1293."
)
_SILVERMAN = (
    "Silverman, B. W. (1981). Using kernel density estimates to investigate multimodality. "
    "Journal of the Royal Statistical Society B 43(1), 97-99."
)
_HENNIG = (
    "Hennig, C. (2007). Cluster-wise assessment of cluster stability. "
    "Computational Statistics and Data Analysis 52(1), 258-271."
)
_HANLEY = (
    "Hanley, J. A. and McNeil, B. J. (1982). The meaning and use of the area under a receiver operating "
    "characteristic (ROC) curve. Radiology 143(1), 29-36."
)
_SIMPSON = (
    "Simpson, A. J. and Fitter, M. J. (1973). What is the best index of detectability? "
    "Psychological Bulletin 80(6), 481-488."
)
_INMAN = (
    "Inman, H. F. and Bradley, E. L. (1989). The overlapping coefficient as a measure of agreement between "
    "probability distributions. Communications in Statistics - Theory and Methods 18(10), 3851-3874."
)
_MU = (
    "Mu, J. and Viswanath, P. (2018). All-but-the-top: simple and effective postprocessing for word "
    "representations. International Conference on Learning Representations."
)
_PRECISION = (
    "Manning, C. D., Raghavan, P. and Schuetze, H. (2008). Introduction to Information Retrieval, section "
    "8.4. Cambridge University Press."
)
_RADFORD = (
    "Radford, A. et al. (2021). Learning transferable visual models from natural language supervision. "
    "Proceedings of the 38th International Conference on Machine Learning, 8748-8763."
)
_GUO = (
    "Guo, C., Pleiss, G., Sun, Y. and Weinberger, K. Q. (2017). On calibration of modern neural networks. "
    "Proceedings of the 34th International Conference on Machine Learning, 1321-1330."
)
_NIXON = (
    "Nixon, J., Dusenberry, M., Zhang, L., Jerfel, G. and Tran, D. (2019). Measuring calibration in deep learning. "
    "CVPR Workshops. arXiv:1904.01685."
)
_BRODERSEN = (
    "Brodersen, K. H., Ong, C. S., Stephan, K. E. and Buhmann, J. M. (2010). The balanced accuracy and its posterior "
    "distribution. 20th International Conference on Pattern Recognition, 3121-3124."
)
_HODOSH = (
    "Hodosh, M., Young, P. and Hockenmaier, J. (2013). Framing image description as a ranking task: data, models and "
    "evaluation metrics. Journal of Artificial Intelligence Research 47, 853-899."
)
_EFRON = "Efron, B. and Stein, C. (1981). The jackknife estimate of variance. Annals of Statistics 9(3), 586-596."

_ALL = (
    MetricInfo(
        "silhouette",
        "Silhouette",
        -1.0,
        1.0,
        "higher",
        "How much closer an image is to its own cluster than to the next one, averaged over images; "
        "about 0 means that the clusters touch.",
        _ROUSSEEUW,
    ),
    MetricInfo(
        "silhouette_cosine",
        "Silhouette (cosine)",
        -1.0,
        1.0,
        "higher",
        "The silhouette with cosine distances: only the directions of the vectors count.",
        _ROUSSEEUW,
    ),
    MetricInfo(
        "silhouette_euclidean",
        "Silhouette (Euclidean)",
        -1.0,
        1.0,
        "higher",
        "The silhouette with straight-line distances: directions and lengths of the vectors count.",
        _ROUSSEEUW,
    ),
    MetricInfo(
        "calinski_harabasz",
        "Calinski-Harabasz",
        0.0,
        inf,
        "higher",
        "Spread between cluster centres over spread inside clusters, each per degree of freedom; it grows "
        "with the number of images, so compare it only within one data set and one space.",
        _CALINSKI,
    ),
    MetricInfo(
        "davies_bouldin",
        "Davies-Bouldin",
        0.0,
        inf,
        "lower",
        "For each cluster the worst ratio of two clusters' widths to the distance of their centres, averaged "
        "over clusters.",
        _DAVIES,
    ),
    MetricInfo(
        "ari",
        "Adjusted Rand index",
        -0.5,
        1.0,
        "higher",
        "Agreement of clusters and labels over all pairs of images, corrected for chance: 0 is chance, 1 is equal.",
        _HUBERT,
    ),
    MetricInfo(
        "ami",
        "Adjusted mutual information",
        -1.0,
        1.0,
        "higher",
        "Information that clusters and labels share, corrected for chance: 0 is chance, 1 is equal.",
        _VINH,
    ),
    MetricInfo(
        "nmi",
        "Normalised mutual information",
        0.0,
        1.0,
        "higher",
        "Information that clusters and labels share over the mean of their entropies; not corrected for "
        "chance, so it grows with the number of clusters.",
        _VINH,
    ),
    MetricInfo(
        "accuracy",
        "Accuracy (best one-to-one match, Hungarian)",
        0.0,
        1.0,
        "higher",
        "Share of images in the right cluster under the best one-to-one match of clusters and labels.",
        _KUHN,
    ),
    MetricInfo(
        "purity",
        "Purity (many to one, grows with k)",
        0.0,
        1.0,
        "higher",
        "Share of images that carry the most frequent label of their cluster (many clusters may share a "
        "label); it grows with the number of clusters.",
        _MANNING,
    ),
    MetricInfo(
        "knn_accuracy",
        "Accuracy of 5 neighbours",
        0.0,
        1.0,
        "higher",
        "Share of images whose label most of their five nearest other images in the embedding have (Euclidean "
        "distance; of other groups where there are groups).",
        _COVER,
    ),
    MetricInfo(
        "probe_accuracy",
        "Accuracy of a linear probe",
        0.0,
        1.0,
        "higher",
        "Share of images whose label a logistic regression of the embedding tells that never saw them (five folds; "
        "groups whole). It uses the labels of the other images, which clusters do not.",
        _ALAIN,
    ),
    MetricInfo(
        "majority_share",
        "Share of the largest class",
        0.0,
        1.0,
        None,
        "Accuracy of calling every image by the most frequent label: the floor of accuracy and purity.",
        _MANNING,
    ),
    MetricInfo(
        "trustworthiness",
        "Trustworthiness",
        0.0,
        1.0,
        "higher",
        "How few strangers the projection puts among an image's neighbours: 1 means that neighbours in the "
        "projection are neighbours in the embedding.",
        _VENNA,
    ),
    MetricInfo(
        "continuity",
        "Continuity",
        0.0,
        1.0,
        "higher",
        "How few of an image's neighbours the projection tears away: 1 means that neighbours in the "
        "embedding stay neighbours in the projection.",
        _VENNA,
    ),
    MetricInfo(
        "neighbours_kept",
        "Neighbours kept",
        0.0,
        1.0,
        "higher",
        "Share of an image's nearest neighbours in the embedding that are among its nearest in the projection.",
        _CHARI,
    ),
    MetricInfo(
        "inertia",
        "Inertia",
        0.0,
        inf,
        None,
        "Sum of squared distances of images to their cluster's centre: lower is tighter, but it always falls "
        "as k grows, so it says nothing by itself about k.",
        _LLOYD,
    ),
    MetricInfo(
        "clustered_share",
        "Share of images in clusters",
        0.0,
        1.0,
        None,
        "Share of images that are no noise, where the clusterer decides; 0 where it finds fewer than two clusters.",
        _CAMPELLO,
    ),
    MetricInfo(
        "noise_share",
        "Share of noise",
        0.0,
        1.0,
        None,
        "Share of images that are in no cluster; every score of the clusters is of the other images only.",
        _CAMPELLO,
    ),
    MetricInfo(
        "knee",
        "Knee of the inertia",
        0.0,
        1.0,
        None,
        "How far the inertia over k lies below the straight line between its ends at the knee, both axes scaled to "
        "0..1; it depends on the range of k, and smooth curves without clusters have a knee too.",
        _SATOPAA,
    ),
    MetricInfo(
        "gap",
        "Gap",
        -2.0,
        2.0,
        "higher",
        "Mean cosine of pairs of one class less that of pairs of different classes; it shrinks with the cone in "
        "which all vectors lie, so compare it only within one encoder.",
        _EFRON,
    ),
    MetricInfo(
        "excess",
        "Excess",
        -inf,
        inf,
        "higher",
        "What a score is beyond the mean of clouds without clusters that went through the same steps; for ratios the "
        "logarithm, turned where lower is better.",
        _LIU,
    ),
    MetricInfo(
        "valley",
        "Gap between clusters",
        0.0,
        inf,
        "lower",
        "Density in the valley between a cluster and its nearest over the lower of their peaks, relative to that of an "
        "even density: near 0 is a wide gap, about 1 none.",
        _SILVERMAN,
    ),
    MetricInfo(
        "jaccard",
        "Found again (Jaccard)",
        0.0,
        1.0,
        "higher",
        "Of a cluster and the most similar one found in half of the images, the share of images that are in both; only "
        "beside what clouds without clusters give does it say anything.",
        _HENNIG,
    ),
    MetricInfo(
        "auc",
        "AUC",
        0.0,
        1.0,
        "higher",
        "Probability that a pair of images of one class is closer than a pair of different classes: 0.5 is chance.",
        _HANLEY,
    ),
    MetricInfo(
        "d_prime",
        "d′",
        -inf,
        inf,
        "higher",
        "The gap in units of the root mean square of both standard deviations.",
        _SIMPSON,
    ),
    MetricInfo(
        "overlap",
        "Overlap",
        0.0,
        1.0,
        "lower",
        "Area that the densities of cosines within and between classes share, in bins of 0.01.",
        _INMAN,
    ),
    MetricInfo(
        "precision_at_5",
        "Share among the 5 nearest",
        0.0,
        1.0,
        "higher",
        "Of the five nearest other images of an image that shows a label, the share that show it too, averaged over "
        "the images that do; compare it with the share that chance gives.",
        _PRECISION,
    ),
    MetricInfo(
        "mean_length",
        "Length of the mean",
        0.0,
        1.0,
        None,
        "Length of the mean of all unit vectors: near 1 where all lie in a narrow cone, which centring takes away.",
        _MU,
    ),
    MetricInfo(
        "top1",
        "Accuracy (top-1)",
        0.0,
        1.0,
        "higher",
        "Zero-shot: share of images whose own class has the nearest text; read it beside the share of the largest "
        "class.",
        _RADFORD,
    ),
    MetricInfo(
        "top5",
        "Among the five best (top-5)",
        0.0,
        1.0,
        "higher",
        "Zero-shot: share of images whose own class is among the five with the nearest texts.",
        _RADFORD,
    ),
    MetricInfo(
        "macro",
        "Mean over classes",
        0.0,
        1.0,
        "higher",
        "Zero-shot: the share of a class's images told right, averaged over classes, so that a large class counts no "
        "more than a small one.",
        _BRODERSEN,
    ),
    MetricInfo(
        "ece",
        "Calibration error (ECE)",
        0.0,
        1.0,
        "lower",
        "Mean distance between how sure predictions are and how often they are right, in 15 bins of equal width; few "
        "images alone make it larger than 0.",
        _GUO,
    ),
    MetricInfo(
        "adaptive_ece",
        "The same, bins of equally many images",
        0.0,
        1.0,
        "lower",
        "The calibration error in 15 bins of equally many images.",
        _NIXON,
    ),
    *(
        MetricInfo(
            f"recall_at_{k}",
            f"Recall at {k}",
            0.0,
            1.0,
            "higher",
            f"Share of queries with a right answer {'in the first place' if k == 1 else f'among the {k} nearest'}.",
            _HODOSH,
        )
        for k in (1, 5, 10)
    ),
    MetricInfo(
        "median_rank",
        "Median rank",
        1.0,
        inf,
        "lower",
        "The place of the nearest right answer, from 1, that half of the queries reach.",
        _HODOSH,
    ),
    MetricInfo(
        "mean_rank",
        "Mean rank",
        1.0,
        inf,
        "lower",
        "The mean place of the nearest right answer, from 1; a few lost queries move it.",
        _HODOSH,
    ),
)

METRICS: dict[str, MetricInfo] = {metric.name: metric for metric in _ALL}
"""Every measure by its name, in the order of reports."""
