"""The complementarity problem: its conditions on random problems, its closed forms, and what has no solution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rodflow.linalg import complementarity
from rodflow.linalg.complementarity import pairs
from small import double_precision, jit

MOST = 6
SIZES = range(1, MOST + 1)
EXACT = 1e-7
"""What an interior-point method leaves of <X, S> and of negative eigenvalues, relative to X and C."""

solve = jit(complementarity.solve)


@pytest.fixture(autouse=True, scope="module")
def float64():
    with double_precision():
        yield


def entries(rows: int) -> int:
    return rows * (rows + 1) // 2


def square(triangle, rows: int) -> np.ndarray:
    """The symmetric matrix with this upper triangle."""
    first, second = pairs(rows)
    matrix = np.zeros((rows, rows))
    matrix[first, second] = matrix[second, first] = triangle
    return matrix


def slack(constant, linear, matrix) -> np.ndarray:
    """S(X) as triangle, with the entries off the diagonal of X counted twice."""
    first, second = pairs(int(np.sqrt(2 * len(constant))))
    return constant + linear @ (np.where(first == second, 1, 2) * matrix)


def problem(rows: int, seed: int):
    """C with eigenvalues of both signs, and B as a Gram matrix."""
    rng = np.random.default_rng([rows, seed])
    factor = rng.standard_normal((entries(rows), entries(rows)))
    return rng.standard_normal(entries(rows)), factor @ factor.T / entries(rows)


@pytest.mark.parametrize("rows", SIZES)
def test_x_and_the_slack_are_positive_and_orthogonal_on_random_problems(rows):
    active = 0
    for seed in range(12):
        constant, linear = problem(rows, seed)
        found = solve(constant, linear, jnp.asarray(rows))
        assert found.solved
        x = square(found.matrix, rows)
        s = square(slack(constant, linear, np.asarray(found.matrix)), rows)
        size_x, size_s = np.linalg.norm(x), np.linalg.norm(square(constant, rows))
        assert np.linalg.eigvalsh(x)[0] >= -EXACT * size_x
        assert np.linalg.eigvalsh(s)[0] >= -EXACT * size_s
        assert abs(np.sum(x * s)) <= EXACT * size_x * size_s
        active += size_x > 0
    assert active >= 4


@pytest.mark.parametrize("rows", SIZES)
def test_a_solution_that_was_put_in_is_found(rows):
    """X and S with common eigenvectors and complementary ranks, and C = S - B X."""
    rng = np.random.default_rng(rows)
    vectors = np.linalg.qr(rng.standard_normal((rows, rows)))[0]
    rank = (rows + 1) // 2
    x, s = (
        (vectors * np.where(held, rng.uniform(1, 2, rows), 0)) @ vectors.T
        for held in (np.arange(rows) < rank, np.arange(rows) >= rank)
    )
    first, second = pairs(rows)
    linear = problem(rows, 0)[1] + np.diag(np.where(first == second, 1, 0.5))
    constant = slack(s[first, second], linear, -x[first, second])
    found = solve(constant, linear, jnp.asarray(rows))
    # With B >= 1 the error's square is at most <X, S>, which is EXACT and less; where all is in X it is exact itself.
    np.testing.assert_allclose(square(found.matrix, rows), x, atol=EXACT if rows == 1 else 3e-5)


@pytest.mark.parametrize("rows", SIZES)
def test_a_slack_that_is_positive_already_leaves_x_at_exactly_zero(rows):
    _, linear = problem(rows, 0)
    factor = np.random.default_rng(rows).standard_normal((rows, rows))
    constant = (factor @ factor.T)[pairs(rows)]
    found = solve(constant, linear, jnp.asarray(rows))
    np.testing.assert_array_equal(found.matrix, np.zeros(entries(rows)))
    assert found.solved


@pytest.mark.parametrize("unit", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("constant", [-2.0, -1e-6, 0.0, 3.0])
def test_one_row_has_the_closed_form(constant, unit):
    found = solve(jnp.array([constant]), jnp.array([[0.5 * unit]]), jnp.asarray(1))
    expected = max(0, -constant / (0.5 * unit))
    np.testing.assert_allclose(found.matrix, [expected], rtol=EXACT)


def test_rows_that_do_not_act_on_each_other_are_problems_of_their_own():
    """Where C is diagonal and B acts on each diagonal entry alone, so is X."""
    first, second = pairs(3)
    constant = np.zeros(6)
    constant[first == second] = [-1.0, 2.0, -3.0]
    linear = np.diag(np.where(first == second, 2.0, 1.0))
    found = solve(constant, linear, jnp.asarray(3))
    np.testing.assert_allclose(square(found.matrix, 3), np.diag([0.5, 0, 1.5]), atol=EXACT)


def test_a_map_of_low_rank_is_enough_where_a_solution_exists():
    """B X = <G, X> G with G positive: the answer has any X with the right <G, X>, and only a slack that is unique."""
    gram = np.diag([1.0, 2.0, 0.5])[pairs(3)]
    constant, linear = -3 * gram, np.outer(gram, gram)
    found = solve(constant, linear, jnp.asarray(3))
    assert found.solved
    np.testing.assert_allclose(slack(constant, linear, np.asarray(found.matrix)), 0, atol=EXACT)


@pytest.mark.parametrize("rows", range(MOST + 1))
def test_what_lies_beyond_the_rows_of_the_problem_is_not_looked_at_and_stays_zero(rows):
    constant, linear = problem(MOST, 3)
    inner = entries(rows)
    outside_nan = np.where(np.arange(entries(MOST)) < inner, 0, np.nan)
    padded = solve(
        constant + outside_nan, linear + outside_nan + outside_nan[:, None], jnp.asarray(rows)
    )
    np.testing.assert_array_equal(padded.matrix[inner:], np.zeros(entries(MOST) - inner))
    alone = solve(constant[:inner], linear[:inner, :inner], jnp.asarray(rows))
    np.testing.assert_array_equal(padded.matrix[:inner], alone.matrix)
    assert padded.solved


def test_jit_and_scan_give_the_same_answers_as_one_by_one():
    sizes = jnp.arange(MOST + 1)
    problems = [problem(MOST, int(seed)) for seed in sizes]
    constants, linears = (np.stack(parts) for parts in zip(*problems, strict=True))

    @jit
    def scanned(constants, linears, sizes):
        def one(unused, given):
            return unused, complementarity.solve(*given)

        return jax.lax.scan(one, None, (constants, linears, sizes))[1]

    found = scanned(constants, linears, sizes)
    expected = [solve(*given).matrix for given in zip(constants, linears, sizes, strict=True)]
    np.testing.assert_array_equal(found.matrix, np.stack(expected))
    assert np.all(found.solved)
    assert np.linalg.norm(found.matrix[-1]) > 0


def test_single_precision_goes_in_and_comes_out():
    constant, linear = (part.astype(np.float32) for part in problem(4, 0))
    found = solve(constant, linear, jnp.asarray(4))
    exact = solve(constant.astype(float), linear.astype(float), jnp.asarray(4))
    assert found.matrix.dtype == np.float32
    np.testing.assert_array_equal(found.matrix, np.asarray(exact.matrix).astype(np.float32))


UNSOLVABLE = {
    "nothing acts": (np.array([-1.0]), np.zeros((1, 1))),
    "nothing acts on the negative direction": (
        np.array([1.0, 0.0, -1.0]),
        np.diag([1.0, 0.0, 0.0]),
    ),
    "C is not a number": (np.array([np.nan]), np.ones((1, 1))),
    "B is not a number": (np.array([-1.0]), np.full((1, 1), np.nan)),
    "C is infinite": (np.array([-np.inf]), np.ones((1, 1))),
}


@pytest.mark.parametrize("given", UNSOLVABLE.values(), ids=UNSOLVABLE)
def test_a_problem_without_a_solution_says_so(given):
    constant, linear = given
    rows = 1 if len(constant) == 1 else 2
    assert not solve(constant, linear, jnp.asarray(rows)).solved


def test_pairs_come_column_by_column_so_those_of_fewer_rows_come_first():
    first, second = pairs(4)
    np.testing.assert_array_equal(first, [0, 0, 1, 0, 1, 2, 0, 1, 2, 3])
    np.testing.assert_array_equal(second, [0, 1, 1, 2, 2, 2, 3, 3, 3, 3])
    for rows in range(4):
        for whole, part in zip((first, second), pairs(rows), strict=True):
            np.testing.assert_array_equal(whole[: len(part)], part)
