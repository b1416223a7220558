"""What the reader of sentences must know of English: closed lists, and a few rules of plural and verb forms.

Nouns are *not* listed: whatever stands where a noun stands is one. The lists below say only which words do
another work (places, relations, settings, verbs), how large or wide common things are, and what is style.
"""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ARTICLES: Final = _words("a an the this that these those another each every my your his her its our their")
_NUMBER_NAMES = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen twenty"
)
NUMBERS: Final[dict[str, int]] = {word: number for number, word in enumerate(_NUMBER_NAMES.split(), 1)} | {
    "single": 1,
    "both": 2,
    "dozen": 12,
}
VAGUE: Final = _words("some several many few various numerous countless all lots plenty")
GROUPS: Final = _words(
    "group bunch row flock herd pile lot crowd pack heap stack swarm school line set cluster handful"
)
COPULAS: Final = _words("is are was were be being been am there's has have had")
JOINERS: Final = _words("and with plus while also then or")
PRONOUNS: Final = _words("it them him her they he she that this")
INDEFINITE: Final = _words(
    "everything something nothing anything everyone someone everybody somebody everywhere somewhere nobody"
)
PREPOSITIONS: Final = _words(
    "of from for like as to about because if during through across without per via than next close until"
    " whose since despite although though but"
)
ADVERBS: Final = _words("up down together alone still away upright outside inside back high low")
# Said without meaning for a layout; passed over without a word.
NOISE: Final = _words("there that which who where very just only quite i want see please show we you so both")
QUIET_VERBS: Final = _words("is are was were be being been am there's")
NEGATIONS: Final = _words("no without not never neither nor")

COLOURS: Final = _words(
    "red orange yellow green blue purple violet pink brown black white grey gray cyan magenta teal"
    " turquoise beige ivory cream crimson scarlet maroon navy golden gold silver bronze copper lavender"
    " lilac indigo olive khaki tan amber emerald ruby coral salmon mint lime"
)
ADJECTIVES: Final = COLOURS | _words(
    "small little tiny mini miniature large big huge giant enormous gigantic massive medium tall short long"
    " wide narrow thin thick fat slim high low deep round square rectangular triangular oval flat curved"
    " straight sharp striped dotted spotted solid plain checkered patterned wooden stone brick metal glass"
    " plastic paper ceramic leather woollen wool silk cotton marble concrete steel iron old young new"
    " ancient modern vintage rusty dusty dirty clean shiny glossy matte bright dark light pale vivid"
    " colourful colorful transparent beautiful pretty cute ugly lovely elegant fancy simple happy sad angry"
    " sleepy scary friendly lonely brave wild tame empty full open closed broken ripe fresh dry wet hot cold"
    " warm frozen snowy rainy foggy misty sunny cloudy stormy windy starry fluffy furry hairy smooth rough"
    " soft hard heavy striking famous old-fashioned royal magic magical mysterious medieval futuristic baby"
    " fast slow quiet loud busy crowded calm strong weak rich poor spiky curly bald bearded pointy blank"
    " neon"
)
ADJECTIVE_ENDINGS: Final = ("ful", "ous", "less", "ish", "able", "ible", "esque", "-coloured", "-colored")
_NOT_ADJECTIVES: Final = (
    "fish",
    "dish",
    "table",
    "radish",
    "cable",
    "stable",
    "bible",
    "handful",
    "mouthful",
)
# Adjectives that are things when nothing follows them.
ALSO_NOUNS: Final = _words(
    "orange glass gold silver rose light stone plant brick square oval paper giant baby dark lime olive"
    " ruby emerald coral salmon mint cream iron copper bronze metal amber medium young"
)

SIZES: Final[dict[str, str]] = {
    **dict.fromkeys(("small", "little", "tiny", "mini", "miniature", "short"), "small"),
    **dict.fromkeys(("medium", "medium-sized", "mid-sized"), "medium"),
    **dict.fromkeys(
        ("large", "big", "huge", "giant", "enormous", "gigantic", "massive", "tall", "wide", "long"), "large"
    ),
}

ROWS: Final[dict[str, str]] = {
    "top": "top", "upper": "top", "bottom": "bottom", "lower": "bottom", "foreground": "bottom",
}  # fmt: skip
COLUMNS: Final[dict[str, str]] = {"left": "left", "right": "right", "lefthand": "left", "righthand": "right"}
MIDDLE: Final = _words("middle centre center central")
PLACE_WORDS: Final = frozenset(ROWS) | frozenset(COLUMNS) | MIDDLE
PLACE_TAILS: Final = _words("corner side half edge part third area hand")
CANVAS: Final = _words("picture image canvas frame page scene photo photograph poster screen composition")

# Longest first; each is (words, kind). "front-of" and "behind" are one relation, seen from both ends.
RELATIONS: Final[tuple[tuple[tuple[str, ...], str], ...]] = tuple(
    sorted(
        (
            (tuple(words.split()), kind)
            for kind, listed in {
                "left": "left of|to the left of|on the left of|at the left of|on the left side of"
                "|to the left side of|left from",
                "right": "right of|to the right of|on the right of|at the right of|on the right side of"
                "|to the right side of|right from",
                "above": "above|over|higher than",
                "below": "below|beneath|underneath|under|lower than|at the foot of|at the bottom of",
                "on": "on|onto|upon|atop|on top of|top of|at the top of|on the top of",
                "inside": "in|inside|into|within|inside of|in the middle of|in the centre of"
                "|in the center of",
                "beside": "beside|by|near|next to|close to|alongside|around|at|against|opposite|towards"
                "|toward|across from|ahead of|to|among|past|on the side of|by the side of|at the side of"
                "|along",
                "front": "in front of|before",
                "behind": "behind|in back of",
                "between": "between|in between",
            }.items()
            for words in listed.split("|")
        ),
        key=lambda pair: -len(pair[0]),
    )
)
STRESSES: Final = _words("right just directly immediately half partly")
EACH_OTHER: Final = (("each", "other"), ("one", "another"))
SIDE_BY_SIDE: Final = (("side", "by", "side"), ("next", "to", "another"), ("in", "a", "row"))

# Before a setting: "at night", "in the snow", "through a forest".
SETTING_LEADS: Final = _words(
    "in at on by under during through across along near over above beneath below into from against amid of"
)  # fmt: skip
# What a whole picture can be in; a noun phrase that ends in one of these, after a lead, is the background.
SETTINGS: Final = _words(
    "day daytime night nighttime morning noon afternoon evening midnight sunset sunrise dusk dawn twilight"
    " daylight moonlight sunlight snow rain fog mist storm thunderstorm blizzard wind winter summer spring"
    " autumn fall sea ocean underwater water desert forest woods jungle city town village street road park"
    " garden beach shore coast field fields meadow valley mountains hills countryside landscape sky space"
    " lake river pond swamp savanna savannah arctic farm farmland yard room kitchen bedroom bathroom office"
    " library studio hall museum classroom market harbour harbor port background backdrop air dark darkness"
    " shade distance wild nature wilderness grass ice horizon alley highway"
)
# Of these, the ones that are the background even where they stand alone: "..., night".
SCENERY: Final = _words(
    "background backdrop day daytime night nighttime sunset sunrise dusk dawn twilight underwater snow"
    " desert forest woods jungle city sea ocean beach meadow landscape countryside outdoors indoors outside"
    " winter summer autumn sky savanna savannah space fog rain storm scenery town seascape cityscape"
)
WEATHER: Final = _words("snowy rainy foggy misty sunny cloudy stormy windy starry nighttime daytime")
BACKDROPS: Final = _words("background backdrop distance horizon")

# A part of a thing is no thing of its own: "a house with a red door" is one region.
PARTS: Final = _words(
    "stripes dots spots eyes eye hair fur beard moustache mustache hat cap crown scarf glasses sunglasses"
    " hands hand arms arm legs leg feet ears ear nose mouth teeth smile face tail wings wing horns horn"
    " feathers scales spikes petals leaves roots branches roof door doors window windows chimney wheels"
    " wheel sail sails mast handle lid label stem frame screen buttons pockets sleeves collar leash saddle"
    " armour armor cape dress suit shirt coat jacket shoes boots gloves lights headlights engine edges"
    " corners walls floor sides pattern patterns texture freckles tattoos skin tentacles claws fangs mane"
    " trunk"
)
BODY: Final = _words("back side belly stomach knees head heels toes lap shoulder shoulders own")
CLOTHES: Final = PARTS & _words(
    "hat cap crown scarf glasses sunglasses armour armor cape dress suit shirt coat jacket shoes boots"
    " gloves"
) | _words(
    "uniform costume robe kimono gown clothes outfit tuxedo spacesuit sweater pyjamas jeans trousers apron"
)  # fmt: skip
# Participles that begin an attribute, with the preposition behind them.
COVERINGS: Final = _words(
    "covered made filled full dressed decorated painted surrounded carved wrapped topped lit lined shaped"
    " built coloured colored drawn written printed dotted marked dripping"
)
HAVING: Final = _words("wears wearing has having have holds holding carries carrying")
_VERBS: Final = _words(
    "sit stand lie run walk fly swim float sleep jump hang rest rise set shine glow burn grow hold wear"
    " carry ride chase watch eat drink read play look face lean hover sail drive stare gaze smile laugh sing"
    " dance fight kiss hug kick throw catch push pull climb crawl roll fall drift wait lead follow overlook"
    " cross touch point pour stretch pass hide perch flow reflect graze blow cast"
)
TRANSITIVE: Final = _words(
    "riding holding chasing eating drinking carrying watching wearing playing reading driving kicking"
    " hugging kissing throwing catching pushing pulling pouring fighting following leading facing climbing"
    " touching having selling making painting writing singing crossing overlooking reflecting guarding"
    " feeding"
)
NOT_VERBS: Final = _words(
    "building king ring wing painting ceiling wedding string spring evening morning lightning clothing"
    " being thing swing sling duckling earring pudding railing drawing engraving viking sibling dumpling"
    " darling red bed shed sled seed weed feed reed steed speed shield field child bleed"
)
IRREGULAR_PARTICIPLES: Final = _words("hung cut seen shown stuck bound sunk worn torn written thrown")
TURNS: Final = _words("facing looking pointing turned turning faces looks points heading going moving")

MEDIA: Final = _words(
    "picture photo photograph painting drawing illustration sketch scene image render rendering poster"
    " portrait watercolour watercolor cartoon shot close-up closeup collage engraving print view depiction"
    " cut artwork snapshot composition"
)
STYLE_HEADS: Final = _words(
    "style lighting quality resolution detail details detailed 4k 8k hd uhd bokeh masterpiece realism"
    " realistic photorealistic photorealism hyperrealistic art aesthetic palette focus lens grain render"
    " rendering mood atmosphere composition tones cinematic artstation photography watercolour watercolor"
    " impressionism 35mm cut-out papercut minimalist isometric wallpaper shading shadows colours colors"
)

MASS: Final = _words(
    "snow rain water grass sand smoke fog fire ice food fruit furniture bread cheese milk coffee tea wine"
    " hair fur gold silver wood light lightning text sunlight money rice sugar salt honey mars venus"
)
TEXT_ROLE: Final = _words("text title headline caption slogan word words letters heading subtitle quote")
LOGO_ROLE: Final = _words("logo emblem watermark")

IRREGULAR_PLURALS: Final[dict[str, str]] = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "mice": "mouse",
    "geese": "goose", "feet": "foot", "teeth": "tooth", "oxen": "ox", "wolves": "wolf", "knives": "knife",
    "leaves": "leaf", "loaves": "loaf", "halves": "half", "shelves": "shelf", "thieves": "thief",
    "lives": "life",
    "wives": "wife", "calves": "calf", "elves": "elf", "scarves": "scarf", "cacti": "cactus",
    "fungi": "fungus", "octopi": "octopus", "dice": "die", "fishermen": "fisherman", "snowmen": "snowman",
    "policemen": "policeman", "potatoes": "potato", "tomatoes": "tomato", "heroes": "hero",
    "mangoes": "mango", "volcanoes": "volcano", "echoes": "echo", "tornadoes": "tornado",
    "movies": "movie", "cookies": "cookie", "zombies": "zombie", "pies": "pie", "ties": "tie",
    "selfies": "selfie", "birdies": "birdie", "brownies": "brownie", "buses": "bus", "gases": "gas",
}  # fmt: skip
SAME_PLURAL: Final = _words("sheep deer fish aircraft series species bison salmon trout squid moose swine")
NOT_PLURAL: Final = _words(
    "bus glass grass dress cactus octopus lens gas canvas walrus iris christmas compass boss cross moss"
    " class chess mattress princess waitress actress goddess lioness fortress harness virus circus genius"
    " process atlas bias tennis oasis platypus hippopotamus rhinoceros asparagus hibiscus lotus crocus"
    " minibus mars venus mistress address bass brass mess pass kiss abyss"
)

# Width : height of a thing's box where it is far from square, and how large it is beside others.
WIDE: Final = _words(
    "car boat bus train fish bed sofa couch bridge table ship truck horse cow dog crocodile snake whale"
    " shark cloud plane airplane aeroplane bench barn van tractor river desk motorcycle bicycle bike sheep"
    " lion tiger rabbit pig submarine caravan wagon fence banner title headline caption slogan text subtitle"
    " rainbow piano keyboard turtle dolphin elephant taxi lorry tram helicopter canoe carpet rug"
)
TALL: Final = _words(
    "tree tower person man woman girl boy bottle lamp giraffe rocket lighthouse candle door flower cactus"
    " skyscraper vase penguin statue windmill ladder umbrella soldier knight princess king queen wizard"
    " robot astronaut snowman lantern tulip pine palm fountain column pillar scarecrow chimney sunflower owl"
    " child teacher doctor farmer dancer chair guitar bookshelf fridge waterfall lamppost"
)
LARGE: Final = _words(
    "house barn castle mountain building tree elephant ship tower bridge church palace skyscraper train"
    " whale temple windmill volcano lighthouse cathedral hotel school factory hill dinosaur dragon truck bus"
    " stage hut cabin cottage skyline waterfall pyramid shop"
)
SMALL: Final = _words(
    "cup mouse bird apple key butterfly egg bee coin ring ball mug mushroom frog spoon fork knife candle"
    " lemon cherry strawberry pen pencil ant snail ladybird ladybug leaf acorn nut berry insect spider"
    " duckling kitten puppy chick hat shoe book phone bowl glass"
)


def singular(noun: str) -> str:
    """The singular of a plural noun; a word that is no plural is returned as it is."""
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if not is_plural(noun) or noun in SAME_PLURAL:
        return noun
    if noun.endswith("ies") and len(noun) > 4:
        return noun[:-3] + "y"
    if noun.endswith(("ches", "shes", "xes", "sses", "zzes")):
        return noun[:-2]
    return noun[:-1]


def is_plural(noun: str) -> bool:
    """Whether a noun is a plural by its form; "sheep" counts as one."""
    if noun in IRREGULAR_PLURALS or noun in SAME_PLURAL:
        return True
    return len(noun) > 3 and noun.endswith("s") and not noun.endswith(("ss", "us", "is")) and (
        noun not in NOT_PLURAL
    )  # fmt: skip


def is_adjective(word: str) -> bool:
    """Whether a word is known to describe; unknown words are taken for nouns."""
    if word in ADJECTIVES:
        return True
    return word.endswith(ADJECTIVE_ENDINGS) and not word.endswith(_NOT_ADJECTIVES)


def is_participle(word: str) -> bool:
    """Whether a word has the form of "running" or "parked" and is no noun that looks like it."""
    if word in NOT_VERBS:
        return False
    if word in IRREGULAR_PARTICIPLES or word in COVERINGS:
        return True
    return (word.endswith("ing") and len(word) > 4) or (word.endswith("ed") and len(word) > 4)


def is_finite(word: str, plural: bool) -> bool:
    """Whether a word is a verb of the third person: "sits", or "sit" after a plural."""
    if plural:
        return word in _VERBS
    if word in ("lies", "flies"):
        return True
    return (
        word.removesuffix("s") in _VERBS or word.removesuffix("es") in _VERBS if word.endswith("s") else False
    )


def article(word: str) -> str:
    """ "a" or "an", by the first letter and the usual exceptions."""
    sounded = word.startswith(("uni", "use", "eu", "one", "ufo"))
    return "an" if (word[:1] in "aeiou" and not sounded) or word.startswith(("hour", "honest")) else "a"
