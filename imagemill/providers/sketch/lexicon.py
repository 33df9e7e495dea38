"""The words around a subject: colours, counts, sizes, places, times, weather."""

COLOURS: dict[str, str] = {
    "#d8342c": "red, crimson, scarlet, ruby red, 빨간, 빨강, 빨간색, 붉은",
    "#f08a24": "orange, 주황, 주황색",
    "#f4c62e": "yellow, 노란, 노랑, 노란색",
    "#45a049": "green, emerald green, lime green, 초록, 초록색, 녹색",
    "#2f6fd0": "blue, cobalt, azure, 파란, 파랑, 파란색, 푸른",
    "#8048b0": "purple, violet, lavender, indigo, 보라, 보라색",
    "#f07fa3": "pink, magenta, rose coloured, 분홍, 분홍색, 핑크",
    "#7d4e2d": "brown, chestnut, chocolate, 갈색",
    "#2c2a33": "black, ebony, 검은, 검정, 까만",
    "#fbfaf7": "white, ivory, 하얀, 흰, 흰색",
    "#8f959e": "gray, grey, ash, 회색",
    "#e9b02c": "gold, golden, 금색, 황금",
    "#bcc5cf": "silver, metallic, chrome, 은색",
    "#1fa39a": "teal, turquoise, cyan, aqua, mint, 청록",
    "#24386b": "navy, dark blue, midnight blue, 남색",
    "#8fcdf0": "light blue, sky blue, pale blue, 하늘색",
    "#e9d8b6": "beige, tan, cream, sandy",
}

COUNTS: dict[int, str] = {
    1: "one, single, lone, lonely, solitary, 한",
    2: "two, pair of, couple of, twin, both, 두",
    3: "three, few, trio of, 세",
    4: "four, several, 네",
    5: "five, group of, flock of, herd of, bunch of, pack of, 다섯",
    6: "six, school of, many, pile of, 여섯",
    7: "seven, 일곱",
    8: "eight, 여덟",
    9: "nine, 아홉",
    10: "ten, 열",
    12: "dozen, twelve",
}

SCALES: dict[float, str] = {
    1.22: "big, large, giant, huge, enormous, massive, towering, 큰, 거대한",
    0.66: "small, little, tiny, miniature, baby, mini, 작은, 아기",
}

PLACES: dict[str, str] = {
    "sea": "sea, ocean, waves, wave, at sea, sailing, surf, 바다, 파도",
    "coast": "coast, cliff, shore",
    "beach": "beach, seaside, tropical, summer, 해변, 여름",
    "underwater": "underwater, under water, under the sea, coral, coral reef, reef, deep sea, aquarium, 바닷속, 물속",
    "space": "space, outer space, galaxy, cosmos, universe, orbit, nebula, milky way, 우주",
    "desert": "desert, dune, dunes, sahara, 사막",
    "snow": "winter, snowy, icy, ice, arctic, antarctica, iceberg, polar, snow, 겨울, 눈",
    "forest": "forest, woods, woodland, jungle, in the woods, 숲",
    "city": "city, urban, cityscape, metropolis, tokyo, new york, london, seoul, 도시, 서울",
    "road": "road, street, highway, racing, traffic, 길, 도로",
    "mountains": "mountains, mountain range, alpine, valley, 산맥",
    "river": "river, stream, canal, waterfall, 강",
    "pond": "pond, lake, 호수, 연못",
    "meadow": "meadow, field, garden, park, grass, countryside, farm field, 들판, 공원",
    "flowers": "flower field, flower meadow, spring, meadow of flowers, wildflowers, 봄, 꽃밭",
    "blossom": "cherry blossom, cherry blossoms, sakura, japan, kyoto, 벚꽃",
    "autumn": "autumn, fall leaves, autumn leaves, autumnal, 가을",
    "air": "sky, in the sky, above the clouds, 하늘",
    "studio": "on a table, on a desk, icon, logo, product, 아이콘",
}

TIMES: dict[str, str] = {
    "night": "night, midnight, moonlit, moonlight, starry, nighttime, at night, under the stars, dark, 밤",
    "sunset": "sunset, dusk, evening, golden hour, twilight, 노을, 일몰, 저녁, 석양",
    "dawn": "dawn, sunrise, morning, misty, foggy, 새벽, 아침, 일출",
}

WEATHER: dict[str, str] = {
    "rain": "rain, rainy, raining, drizzle, 비",
    "snow": "snowing, snowfall, snowstorm, blizzard, falling snow, snow, 눈",
    "storm": "stormy, thunderstorm",
}

SIDES: dict[str, str] = {
    "left": "on the left, left, 왼쪽",
    "right": "on the right, right, 오른쪽",
    "up": "flying, floating, soaring, hovering, jumping, leaping, 나는",
}

JOINERS = frozenset(["of", "and", "with", "the", "a", "an", "very", "is", "are", "in", "on"])
"""Words across which a colour or a count still belongs to the next subject, or the last one."""

NEGATIONS = frozenset({"no", "without", "not", "never"})

PARTICLES = ("에서", "으로", "들이", "들은", "들을", "한테", "처럼", "마리", "이", "가", "은", "는",
             "을", "를", "와", "과", "의", "에", "도", "로", "들", "위")  # fmt: skip
"""Korean endings that may follow a noun."""
