"""What the words of a header or a file name say about an MR series, in the usual languages and spellings.

Headers write the same thing in many ways: ``T1_TSE_SAG_FS``, ``sSTIR``, ``T1TSEFS``, ``FatSat``, ``T1 ohne KM``. A text
is cut into words, words that are run together are cut into the parts below, and each part that says something becomes
a `Trait`. A negated word (``no FS``, ``ohne KM``) says nothing.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from functools import lru_cache

__all__ = ["Trait", "names_a_sequence", "says_nothing", "traits_of", "words_of"]


class Trait(StrEnum):
    """One thing that a text says about a series."""

    STIR = "STIR"
    FAT_SUPPRESSED = "fat-suppressed"
    FAT = "Dixon fat"
    WATER = "Dixon water"
    OPPOSED = "Dixon opposed phase"
    IN_PHASE = "Dixon in phase"
    DIXON = "Dixon"
    ENHANCED = "contrast-enhanced"
    GRADIENT_ECHO = "gradient echo"
    MAP = "map or derived image"
    PROJECTION = "projection or reformat"
    LOCALIZER = "localizer"
    FLAIR = "FLAIR"
    HEAD = "head"
    ELSEWHERE = "not spine"
    SPINE = "spine"


PHRASES: dict[Trait, str] = {
    Trait.STIR: "stir tirm tir tirfse short_tau short_ti turbo_ir turboir irtse ir_tse ir_fse irfse",
    Trait.FAT_SUPPRESSED: (
        "fs fatsat fat_sat fats fat_saturation fat_saturated fat_suppressed fat_suppression fat_supp fat_sup "
        "fatsup fatsupp fat_suppr fsat spir spair aspir chemsat chem_sat chess proset water_excitation "
        "water_excit we watex fettsat fett_sat fettsaettigung fettgesaettigt fettunterdrueckt "
        "fettunterdrueckung fettsupprimiert fettsuppression fat_sat_gems fatsat_gems sat_graisse satgraisse "
        "sat_g suppression_graisse suppression_de_graisse saturation_graisse graisse_saturee supresion_grasa "
        "sat_grasa satgrasa grasa_saturada sat_grasso soppressione_grasso shibou_yokusei shibouyokusei "
        "shibo_yokusei yokusei 脂肪抑制 压脂 抑脂 脂肪饱和 sinva fatnav q_fat"
    ),
    Trait.FAT: "fat fatonly fat_only fatimage fat_image fett fettbild graisse grasa grasso gras lipid lipids 脂肪",
    Trait.WATER: "water wateronly water_only waterimage wasser wasserbild eau agua acqua mizu wat 水",
    Trait.OPPOSED: (
        "opp opposed opp_phase oppphase opposed_phase opposedphase out_phase outphase out_of_phase outofphase "
        "oop outph antiphase anti_phase gegenphase opposition opposition_de_phase hors_phase gyaku_isou "
        "isou_gyaku"
    ),
    Trait.IN_PHASE: "in_phase inphase inph in_ph en_phase in_opp_in dou_isou",
    Trait.DIXON: "dixon mdixon mdixonxd twopointdixon ideal lava flex idealiq wfi fatsep qdixon dixonvibe 2pt 3pt",
    Trait.ENHANCED: (
        "gd gad gado gadolinium gadolin gadovist gadavist dotarem magnevist prohance multihance omniscan "
        "clariscan artirem vueway elucirem primovist eovist gadobutrol gadoterate gadoteridol km kontrast "
        "kontrastmittel contrast contraste contrasto post postcontrast postgad postgd postkm ce cet1 t1ce t1c "
        "t1c+ c+ +c +gd +km +ce +gad +k mdc kmv kmgabe enhanced enhancement inj injected injecte injection "
        "zouei zoei 造影 增强 dce perfusion"
    ),
    Trait.GRADIENT_ECHO: (
        "gre flash vibe thrive spgr fspgr mprage mp_rage bravo fiesta ciss trufi ffe tffe bffe medic merge "
        "swi swan dess epi fl2d fl3d tfl tfl3d t2* t2star t2_star gradient_echo gradientecho vibedixon ssfp "
        "fisp"
    ),
    Trait.MAP: (
        "adc dwi dti diff diffusion trace tracew ff pdff fatfraction fat_fraction fat_percent r2* r2star "
        "t1map t2map t1_map t2_map phase_map phasemap b0_map b0map map maps mapit rho t1rho t1_rho sub "
        "subtraction subtracted subtr sub_t1 difference synthetic_map myelo myelogram myelographie mrm b50 "
        "b400 b500 b600 b700 b800 b900 b1000"
    ),
    Trait.PROJECTION: "mip minip mpr reformat reformatted projection screensave screenshot",
    Trait.LOCALIZER: (
        "localizer localiser lokalizer loc locs scout survey pilot scano plan_scan planscan 3plane 3_plane "
        "3pl topogram localisateur reperage uebersicht smartbrain"
    ),
    Trait.FLAIR: "flair dark_fluid darkfluid",
    Trait.HEAD: (
        "head brain skull cranium cranial orbit orbits face pituitary hypophysis iac kopf schaedel hirn "
        "gehirn crane tete cerveau cerebral cerebrum encephale cerebro cabeza testa atama noh tohbu toubu 头 頭 "
        "頭部 脳"
    ),
    Trait.ELSEWHERE: (
        "knee hip hips ankle foot feet hand wrist elbow shoulder breast heart cardiac extremity leg arm "
        "forearm thigh femur tibia humerus prostate liver kidney uterus ovary rectum pancreas abdomen "
        "abdominal tmj knie huefte sprunggelenk fuss handgelenk ellenbogen schulter brust mamma herz leber "
        "niere prostata unterschenkel oberschenkel genou hanche cheville pied poignet coude epaule sein coeur "
        "foie rein cuisse rodilla cadera tobillo pie muneca codo hombro mama corazon higado ginocchio anca "
        "caviglia spalla hiza kata kokansetsu ashi kubi_ue fukubu 膝 肩 腹部"
    ),
    Trait.SPINE: (
        "spine spinal vertebra vertebral vertebrae lumbar lumbal lumbosacral lumbo lspine tspine cspine "
        "thoracic thorakal cervical zervikal sacrum sacral sacro ls lsp tsp csp ws lws bws hws neck rachis "
        "columna colonna wirbelsaeule yotsui kyotsui keitsui tlspine lendenwirbelsaeule 腰椎 胸椎 頸椎 脊柱"
    ),
}
# What run-together words are made of beside the parts above: they say nothing of their own.
NEUTRAL_WORDS = (
    "t1 t2 pd t1w t2w pdw tse fse se frfse fr ffse rst tsr sag sagittal sagital cor coronal kor ax axial "
    "tra trans ir turbo 2d 3d hr hires lumb thor cerv space cube vista blade propeller dl drb asset sense "
    "acq whole total upper lower mit nach with native nativ w "
)
NEUTRAL = frozenset(NEUTRAL_WORDS.split())
# Parts that are safe to find inside a run-together word; others, such as "ff" or "we", are words of their own.
JOINABLE = {
    Trait.STIR: "stir tirm tir",
    Trait.FAT_SUPPRESSED: "fs fatsat fsat spir spair chess fettsat fatsup",
    Trait.FAT: "fat fett",
    Trait.WATER: "water wasser",
    Trait.OPPOSED: "opp outphase oop",
    Trait.IN_PHASE: "inphase inph",
    Trait.DIXON: "dixon mdixon flex ideal lava",
    Trait.ENHANCED: "gd gad gado km ce post kontrast contrast",
    Trait.LOCALIZER: "loc",
    Trait.MAP: "map",
    Trait.GRADIENT_ECHO: "gre flash vibe",
    Trait.SPINE: "spine lws bws hws lumbar thoracic cervical",
}
# Single letters that name a Dixon part where the rest of the text says that it is a Dixon.
LETTERS = {"f": Trait.FAT, "w": Trait.WATER, "op": Trait.OPPOSED, "o": Trait.OPPOSED, "out": Trait.OPPOSED}
LETTERS |= {"ip": Trait.IN_PHASE, "in": Trait.IN_PHASE, "i": Trait.IN_PHASE}
NEGATIONS_WORDS = "no non not none without wo ohne kein keine keinen nicht nie sans pas aucun aucune sin senza nessun "
NEGATIONS = frozenset(NEGATIONS_WORDS.split())
# "pre FS" is a fat-suppressed series before the agent: these negate the agent alone.
BEFORE_AGENT_WORDS = "pre prae vor avant before prima antes mae vorher unenhanced nativ native plain "
BEFORE_AGENT = frozenset(BEFORE_AGENT_WORDS.split())
NEGATED_AFTER_WORDS = "off nashi negative negativ mae nein なし 無し 无 "
NEGATED_AFTER = frozenset(NEGATED_AFTER_WORDS.split())
NOTHING_WORDS = (
    "n no none non nein nil null na nan false unknown unk unspecified unbekannt inconnu nothing nicht "
    "keine kein keines aucun aucune ninguno nessuno sans ohne without sin senza nashi nativ native plain "
    "unenhanced empty off なし 無し 无 "
)
NOTHING = frozenset(NOTHING_WORDS.split())
MAX_CHARACTERS = 256
DIXON_LETTER = re.compile(r"(.*dixon)(f|w|op|ip|in|o|i|out)")
TRANSLITERATED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a text: lower case, without accents, cut at punctuation and between ``aB``.

    Parameters
    ----------
    text : str

    Returns
    -------
    tuple of str
        ``+`` and ``*`` are kept where they belong to a word (``+C``, ``T2*``).
    """
    text = unicodedata.normalize("NFKC", text[:MAX_CHARACTERS])
    text = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", text).casefold().translate(TRANSLITERATED)
    text = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    text = re.sub(r"\bw/o\b", "without", text)
    text = re.sub(r"\bn/a\b", "na", text)
    text = re.sub(r"\+\s+(?=[a-z])", "+", text)
    text = re.sub(r"(?<=[a-z0-9])(?=\+[a-z])", " ", text)
    return tuple(re.findall(r"\+?[^\W_]+[+*]?", text))


@lru_cache(maxsize=4096)
def says_nothing(text: str) -> bool:
    """Return whether a value stands for "there is none": ``NONE``, ``N``, ``0``, ``-``, ``no contrast``, ``ohne KM``.

    Parameters
    ----------
    text : str

    Returns
    -------
    bool
        True for an empty text, too.
    """
    words = words_of(text)
    if not words or all(word in NOTHING or not word.strip("0") for word in words):
        return True
    if words[-1] in NEGATED_AFTER:
        return True
    return words[0] in NEGATIONS | BEFORE_AGENT and words[:2] != ("non", "ionic")


@lru_cache(maxsize=4096)
def traits_of(text: str) -> frozenset[Trait]:
    """Return what a text says about a series.

    Parameters
    ----------
    text : str
        A series description, a protocol or sequence name, or the words of a header element joined by spaces.

    Returns
    -------
    frozenset of Trait
        Negated words are left out.
    """
    words = [part for word in words_of(text) for part in _parts(word)]
    found: set[Trait] = set()
    place = 0
    while place < len(words):
        length, traits = _longest(words, place)
        if traits and not _is_negated(traits, words, place, length):
            found |= traits
        place += length
    if Trait.DIXON in found:
        found |= {LETTERS[word] for word in words if word in LETTERS}
    return frozenset(found)


def _longest(words: list[str], place: int) -> tuple[int, frozenset[Trait]]:
    """Find the longest phrase that begins at a word; one word that says nothing where there is none."""
    for length in range(min(LONGEST, len(words) - place), 0, -1):
        traits = MEANINGS.get(tuple(words[place : place + length]))
        if traits and not _is_exception(words, place, length):
            return length, traits
    return 1, frozenset()


def _is_exception(words: list[str], place: int, length: int) -> bool:
    """Return whether a phrase means something else here: ``post op``, ``head first``, ``flow star``."""
    phrase, after = words[place], words[place + length : place + length + 1]
    if length > 1:
        return False
    if phrase == "post" and after and after[0] in {"op", "operativ", "operative", "fusion", "processed"}:
        return True
    return phrase in {"head", "feet"} and bool(after) and after[0] in {"first", "coil", "neck"}


def _is_negated(traits: frozenset[Trait], words: list[str], place: int, length: int) -> bool:
    before, after = words[max(0, place - 1) : place], words[place + length : place + length + 1]
    negations = NEGATIONS | BEFORE_AGENT if Trait.ENHANCED in traits else NEGATIONS
    return bool(before and before[0] in negations) or bool(after and after[0] in NEGATED_AFTER)


@lru_cache(maxsize=4096)
def _parts(word: str) -> tuple[str, ...]:
    """Cut a run-together word into known parts; return it whole where it is not made of them."""
    bare = word.rstrip("0123456789")
    if (word,) in MEANINGS or word in NEGATIONS | BEFORE_AGENT or len(word) > 40:
        return (word,)
    if len(bare) > 1 and (bare,) in MEANINGS:
        return (bare,)
    for negation in ("non", "no", "ohne", "sans"):
        rest = word[len(negation) :]
        if word.startswith(negation) and (rest,) in MEANINGS:
            return (negation, rest)
    dixon = DIXON_LETTER.fullmatch(word)
    if dixon:
        return (*_parts(dixon[1]), dixon[2])
    # Philips begins names with "s" for a single sequence: sT1W_TSE, sSTIR.
    for start in (word, word[1:] if word.startswith("s") else ""):
        cut = _cut(start)
        if cut and any(part in JOINED for part in cut):
            return cut
    return (word,)


def _cut(word: str) -> tuple[str, ...] | None:
    """Cut a word into known parts and numbers, longest parts first; None where that is not possible."""
    if not word:
        return None
    ways: dict[int, tuple[str, ...]] = {len(word): ()}
    for start in range(len(word) - 1, -1, -1):
        for end in range(len(word), start, -1):
            part = word[start:end]
            if end in ways and (part in JOINED or part in NEUTRAL or part.isdigit()):
                ways[start] = (part, *ways[end])
                break
    return ways.get(0)


JOINED = frozenset(part for parts in JOINABLE.values() for part in parts.split())
MEANINGS: dict[tuple[str, ...], frozenset[Trait]] = {}
for _trait, _phrases in PHRASES.items():
    for _phrase in _phrases.split():
        _key = tuple(_phrase.split("_"))
        MEANINGS[_key] = MEANINGS.get(_key, frozenset()) | {_trait}
LONGEST = max(len(key) for key in MEANINGS)
KNOWN_WORDS = NEUTRAL | {word for key in MEANINGS for word in key}


def names_a_sequence(word: str) -> bool:
    """Return whether a word of a file name is one of those that name a sequence, a plane or a region.

    Parameters
    ----------
    word : str

    Returns
    -------
    bool
    """
    return all(part in KNOWN_WORDS or part.isdigit() for one in words_of(word) for part in _parts(one)) and (
        not word.isdigit()
    )
