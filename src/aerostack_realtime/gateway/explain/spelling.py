"""Topics that somebody probably meant when they wrote another one."""

from collections.abc import Iterable

from aerostack_realtime.protocol import topics

MAX_FOUND = 5


def near(topic: str, known: Iterable[str]) -> list[str]:
    """The canonical topics that are spelled almost like a canonical topic, without the topic itself."""
    return sorted(each for each in known if is_near(topic, each))[:MAX_FOUND]


def is_near(one: str, other: str) -> bool:
    """Whether two canonical topics differ in case, in up to two neighboring characters, or in a project at the end
    of one. Topics that differ in a number alone are different rooms."""
    if one == other:
        return False
    first, second = topics.without_project(one), topics.without_project(other)
    if first.lower() == second.lower() or names_project(first, second) or names_project(second, first):
        return True
    shorter = min(len(first), len(second))
    start = 0
    while start < shorter and first[start] == second[start]:
        start += 1
    end = 0
    while end < shorter - start and first[-1 - end] == second[-1 - end]:
        end += 1
    different = first[start : len(first) - end], second[start : len(second) - end]
    if max(map(len, different)) > 2 or shorter < 4:
        return False
    return not all(each == "" or each.isdigit() for each in different)


def names_project(longer: str, shorter: str) -> bool:
    """Whether a topic is another one with a project of another name at its end."""
    return longer.startswith(f"{shorter}/") and "/" not in longer[len(shorter) + 1 :]
